// The adapter for gRPC's C++ library and the generated stubs, as Debian packages them.
#include <google/protobuf/any.pb.h>
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "mailroom/v1/mailroom.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace v1 = mailroom::v1;
using nlohmann::json;
using Proto = google::protobuf::Message;

struct unsupported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Connection {
  std::unique_ptr<v1::MailboxService::Stub> mailbox;
  std::unique_ptr<v1::SupervisorService::Stub> supervisor;
  std::string token;
};

std::map<std::string, Connection> connections;
std::map<int, std::shared_ptr<grpc::ClientContext>> contexts;
std::mutex output, contexts_lock;

void write(json line) {
  std::lock_guard<std::mutex> lock(output);
  std::cout << line.dump() << std::endl;
}

std::string read(const json& line, const char* key) {
  if (!line.contains(key)) return "";
  std::ifstream file(line[key].get<std::string>());
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void open(const json& line) {
  grpc::ChannelArguments options;
  options.SetInt("grpc.enable_http_proxy", 0);
  options.SetMaxReceiveMessageSize(8 << 20);
  options.SetInt("grpc.use_local_subchannel_pool", 1);
  if (line.contains("keepalive_ms")) {
    options.SetInt("grpc.keepalive_time_ms", line["keepalive_ms"]);
    options.SetInt("grpc.http2.max_pings_without_data", 0);
  }
  auto credentials = grpc::InsecureChannelCredentials();
  if (line.contains("ca"))
    credentials = grpc::SslCredentials({read(line, "ca"), read(line, "key"), read(line, "cert")});
  auto channel = grpc::CreateCustomChannel(line["target"], credentials, options);
  connections[line["name"]] = {v1::MailboxService::NewStub(channel), v1::SupervisorService::NewStub(channel),
                               line.value("token", "")};
}

json error_of(const grpc::Status& status) {
  static const char* codes[] = {"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
                                "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
                                "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
                                "UNAUTHENTICATED"};
  json found = {{"code", codes[status.error_code()]}, {"message", status.error_message()}, {"reason", ""}, {"field", ""}};
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest request;
  google::rpc::RetryInfo retry;
  for (const auto& any : details.details()) {
    if (any.UnpackTo(&info)) found["reason"] = info.reason(), found["domain"] = info.domain();
    if (any.UnpackTo(&request)) found["field"] = request.field_violations(0).field();
    if (any.UnpackTo(&retry))
      found["retry_ms"] = retry.retry_delay().seconds() * 1000 + retry.retry_delay().nanos() / 1000000;
  }
  return found;
}

void parse(const json& from, Proto* to) {
  auto status = google::protobuf::util::JsonStringToMessage(from.dump(), to);
  if (!status.ok()) throw std::runtime_error("not a request: " + std::string(status.message()));
}

json json_of(const Proto& message) {
  std::string text;
  auto status = google::protobuf::util::MessageToJsonString(message, &text);
  if (std::string reason(status.message()); !status.ok() && reason.find("recursion depth") != reason.npos)
    throw unsupported("JSON of protobuf 3.21 ends at 64 levels: " + reason);
  if (!status.ok()) throw std::runtime_error("no JSON: " + std::string(status.message()));
  return json::parse(text);
}

template <class Stub, class Request, class Response>
json unary(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
           grpc::ClientContext* context, const json& line) {
  Request request;
  Response response;
  parse(line["request"], &request);
  if constexpr (std::is_same_v<Request, v1::SendMessageRequest>)
    if (line.value("nan", false)) (*request.mutable_metadata()->mutable_fields())["not a number"].set_number_value(NAN);
  auto status = (stub.*method)(context, request, &response);
  return status.ok() ? json{{"ok", json_of(response)}} : json{{"error", error_of(status)}};
}

json unary(Connection& connection, grpc::ClientContext* context, const json& line) {
  const std::string method = line["method"];
#define MAILBOX(name) \
  if (method == #name) return unary(*connection.mailbox, &v1::MailboxService::Stub::name, context, line);
  MAILBOX(SendMessage) MAILBOX(BroadcastMessage) MAILBOX(CheckInbox) MAILBOX(MarkOffered) MAILBOX(AcknowledgeMessages)
  MAILBOX(GetMessage) MAILBOX(ListMessages) MAILBOX(ClearMailbox) MAILBOX(GetMailboxStats) MAILBOX(GetQueueStats)
  MAILBOX(SetAlias) MAILBOX(ListAgents)
  if (method == "GetStatus") return unary(*connection.supervisor, &v1::SupervisorService::Stub::GetStatus, context, line);
  throw std::runtime_error("no method " + method);
}

json subscribe(Connection& connection, grpc::ClientContext* context, const json& line) {
  v1::SubscribeRequest request;
  v1::SubscribeResponse event;
  parse(line["request"], &request);
  auto stream = connection.mailbox->Subscribe(context, request);
  while (stream->Read(&event)) write({{"id", line["id"]}, {"event", json_of(event)}});
  return {{"end", error_of(stream->Finish())}};
}

json bulk(Connection& connection, grpc::ClientContext* context, const json& line) {
  auto stream = connection.mailbox->SendMessages(context);
  std::thread writer([&] {
    for (const auto& one : line["requests"]) {
      v1::SendMessagesRequest request;
      parse(one, &request);
      if (!stream->Write(request)) break;
    }
    stream->WritesDone();
  });
  v1::SendMessagesResponse response;
  json responses = json::array();
  while (stream->Read(&response)) responses.push_back(json_of(response));
  writer.join();
  auto status = stream->Finish();
  return status.ok() ? json{{"responses", responses}} : json{{"error", error_of(status)}};
}

json run(const json& line, grpc::ClientContext* context) {
  if (line.contains("raw")) return {{"unsupported", "generated stubs send messages only"}};
  auto& connection = connections.at(line["on"]);
  if (!connection.token.empty()) context->AddMetadata("authorization", "Bearer " + connection.token);
  if (line.contains("timeout_ms"))
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(line["timeout_ms"]));
  if (line["op"] == "unary") return unary(connection, context, line);
  return line["op"] == "stream" ? subscribe(connection, context, line) : bulk(connection, context, line);
}

int main() {
  std::string runtime = "GCC " __VERSION__;
  write({{"hello", {{"library", "grpc++"}, {"version", grpc::Version()}, {"runtime", runtime}, {"kind", "library"}}}});
  for (std::string text; std::getline(std::cin, text);) {
    json line = json::parse(text);
    if (line["op"] == "open") {
      open(line);
      write({{"id", line["id"]}});
    } else if (line["op"] == "cancel") {
      std::lock_guard<std::mutex> lock(contexts_lock);
      if (auto found = contexts.find(line["stream"]); found != contexts.end()) found->second->TryCancel();
    } else {
      auto context = std::make_shared<grpc::ClientContext>();
      std::lock_guard<std::mutex> lock(contexts_lock);
      contexts[line["id"]] = context;
      std::thread([line, context] {
        json result;
        try {
          result = run(line, context.get());
        } catch (const unsupported& limit) {
          result = {{"unsupported", limit.what()}};
        } catch (const std::exception& error) {
          result = {{"unexpected", error.what()}};
        }
        result["id"] = line["id"];
        write(result);
        std::lock_guard<std::mutex> lock(contexts_lock);
        contexts.erase(line["id"]);
      }).detach();
    }
  }
  std::_Exit(0);
}
