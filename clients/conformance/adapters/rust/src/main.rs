//! The adapter for tonic and the generated client.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use pb::mailbox_service_client::MailboxServiceClient;
use pb::supervisor_service_client::SupervisorServiceClient;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::AbortHandle;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

pub mod pb {
    tonic::include_proto!("mailroom.v1");
}

type Answer = Result<Value, Status>;

static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin")).as_slice()).expect("descriptors")
});
static CONNECTIONS: LazyLock<Mutex<HashMap<String, (Channel, String)>>> = LazyLock::new(Default::default);
static TASKS: LazyLock<Mutex<HashMap<u64, AbortHandle>>> = LazyLock::new(Default::default);

fn write(line: &Value) {
    println!("{line}"); // whole lines: println! locks the output
}

fn open(line: &Value) {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let read = |key: &str| std::fs::read(text(key)).expect("a readable file");
    let target = text("target");
    let scheme = if line["ca"].is_string() { "https" } else { "http" };
    let uri = if target.starts_with("unix:") { target } else { format!("{scheme}://{target}") };
    let mut endpoint = Endpoint::from_shared(uri).expect("a target");
    if line["ca"].is_string() {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("ca")));
        if line["cert"].is_string() {
            tls = tls.identity(Identity::from_pem(read("cert"), read("key")));
        }
        endpoint = endpoint.tls_config(tls).expect("certificates");
    }
    if let Some(every) = line["keepalive_ms"].as_u64() {
        endpoint = endpoint.http2_keep_alive_interval(Duration::from_millis(every)).keep_alive_while_idle(true);
    }
    CONNECTIONS.lock().unwrap().insert(text("name"), (endpoint.connect_lazy(), text("token")));
}

fn error_of(status: &Status) -> Value {
    let details = status.get_error_details();
    let info = details.error_info();
    let mut found = json!({
        "code": code_name(status.code()), "message": status.message(),
        "reason": info.map_or("", |info| &info.reason), "domain": info.map_or("", |info| &info.domain),
        "field": details.bad_request().and_then(|bad| bad.field_violations.first()).map_or("", |one| &one.field),
    });
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        found["retry_ms"] = json!(delay.as_millis() as u64);
    }
    found
}

fn code_name(code: Code) -> String {
    let mut name = String::new(); // "InvalidArgument" as INVALID_ARGUMENT
    for char in format!("{code:?}").chars() {
        if char.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(char.to_ascii_uppercase());
    }
    name
}

/// The contract's message of this name for a type: `SendMessageRequest`, for example.
fn dynamic<T>() -> prost_reflect::MessageDescriptor {
    let name = std::any::type_name::<T>().rsplit("::").next().unwrap_or_default();
    DESCRIPTORS.get_message_by_name(&format!("mailroom.v1.{name}")).expect("a message of the contract")
}

fn from_json<T: Message + Default>(value: &Value) -> T {
    let message = DynamicMessage::deserialize(dynamic::<T>(), value).expect("a request");
    T::decode(message.encode_to_vec().as_slice()).expect("the same message")
}

fn to_json<T: Message>(message: &T) -> Value {
    let bytes = message.encode_to_vec();
    json!(DynamicMessage::decode(dynamic::<T>(), bytes.as_slice()).expect("the same message"))
}

fn request<T: Message + Default>(line: &Value, token: &str) -> Request<T> {
    with_call_options(Request::new(from_json(&line["request"])), line, token)
}

fn with_call_options<T>(mut request: Request<T>, line: &Value, token: &str) -> Request<T> {
    if !token.is_empty() {
        let header: MetadataValue<_> = format!("Bearer {token}").parse().expect("a token");
        request.metadata_mut().insert("authorization", header);
    }
    if let Some(timeout) = line["timeout_ms"].as_u64() {
        request.set_timeout(Duration::from_millis(timeout));
    }
    request
}

async fn unary(line: &Value, channel: Channel, token: &str) -> Answer {
    let mut mailbox = MailboxServiceClient::new(channel.clone()).max_decoding_message_size(8 << 20);
    macro_rules! call {
        ($method:ident) => {
            to_json(&mailbox.$method(request(line, token)).await?.into_inner())
        };
    }
    Ok(match line["method"].as_str().unwrap_or_default() {
        "SendMessage" if line["nan"] == true => {
            let mut request: Request<pb::SendMessageRequest> = request(line, token);
            let value = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(f64::NAN)) };
            let fields = [("not a number".to_owned(), value)].into();
            request.get_mut().metadata = Some(prost_types::Struct { fields });
            to_json(&mailbox.send_message(request).await?.into_inner())
        }
        "SendMessage" => call!(send_message),
        "BroadcastMessage" => call!(broadcast_message),
        "CheckInbox" => call!(check_inbox),
        "MarkOffered" => call!(mark_offered),
        "AcknowledgeMessages" => call!(acknowledge_messages),
        "GetMessage" => call!(get_message),
        "ListMessages" => call!(list_messages),
        "ClearMailbox" => call!(clear_mailbox),
        "GetMailboxStats" => call!(get_mailbox_stats),
        "GetQueueStats" => call!(get_queue_stats),
        "SetAlias" => call!(set_alias),
        "ListAgents" => call!(list_agents),
        "GetStatus" => {
            let mut supervisor = SupervisorServiceClient::new(channel);
            to_json(&supervisor.get_status(request(line, token)).await?.into_inner())
        }
        other => return Err(Status::unknown(format!("adapter: no method {other}"))),
    })
}

async fn stream(line: &Value, channel: Channel, token: &str) -> Result<(), Status> {
    let mut mailbox = MailboxServiceClient::new(channel);
    let mut events = mailbox.subscribe(request(line, token)).await?.into_inner();
    while let Some(event) = events.message().await? {
        write(&json!({"id": line["id"], "event": to_json(&event)}));
    }
    Ok(())
}

async fn bulk(line: &Value, channel: Channel, token: &str) -> Answer {
    let mut mailbox = MailboxServiceClient::new(channel);
    let requests: Vec<pb::SendMessagesRequest> = line["requests"].as_array().expect("requests").iter().map(from_json).collect();
    let requests = with_call_options(Request::new(tokio_stream::iter(requests)), line, token);
    let mut stream = mailbox.send_messages(requests).await?.into_inner();
    let mut responses = Vec::new();
    while let Some(response) = stream.message().await? {
        responses.push(to_json(&response));
    }
    Ok(json!(responses))
}

async fn run(line: &Value) -> Value {
    if line["raw"].is_string() {
        return json!({"unsupported": "tonic sends bytes only through a codec of the program's own"});
    }
    let name = line["on"].as_str().unwrap_or_default();
    let (channel, token) = CONNECTIONS.lock().unwrap()[name].clone();
    let (key, result) = match line["op"].as_str().unwrap_or_default() {
        "unary" => ("ok", unary(line, channel, &token).await),
        "bulk" => ("responses", bulk(line, channel, &token).await),
        _ => {
            let end = stream(line, channel, &token).await.err().map_or(json!({"code": "OK"}), |end| error_of(&end));
            return json!({"end": end});
        }
    };
    match result {
        Ok(value) => json!({ key: value }),
        Err(status) => json!({"error": error_of(&status)}),
    }
}

#[tokio::main]
async fn main() {
    let (version, runtime) = (env!("TONIC_VERSION"), format!("Rust {}", env!("RUST_VERSION")));
    write(&json!({"hello": {"library": "tonic", "version": version, "runtime": runtime, "kind": "library"}}));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(text) = lines.next_line().await.expect("input") {
        let line: Value = serde_json::from_str(&text).expect("a line of JSON");
        match line["op"].as_str().unwrap_or_default() {
            "open" => {
                open(&line);
                write(&json!({"id": line["id"]}));
            }
            "cancel" => {
                let id = line["stream"].as_u64().unwrap_or_default();
                if let Some(task) = TASKS.lock().unwrap().remove(&id) {
                    task.abort();
                }
            }
            _ => {
                let (id, is_stream) = (line["id"].as_u64().unwrap_or_default(), line["op"] == "stream");
                let task = tokio::spawn(async move { run(&line).await });
                TASKS.lock().unwrap().insert(id, task.abort_handle());
                tokio::spawn(async move {
                    let cancelled = json!({"code": "CANCELLED", "message": "cancelled by the program"});
                    let mut result = match task.await {
                        Ok(result) => result,
                        Err(error) if error.is_panic() => json!({"unexpected": error.to_string()}),
                        Err(_) => json!({ if is_stream { "end" } else { "error" }: cancelled }),
                    };
                    result["id"] = json!(id);
                    write(&result);
                });
            }
        }
    }
}
