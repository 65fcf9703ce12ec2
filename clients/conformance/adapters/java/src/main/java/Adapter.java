import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import com.google.protobuf.util.Durations;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.github.mailroom_daemon.mailroom.v1.MailboxServiceGrpc;
import io.github.mailroom_daemon.mailroom.v1.SendMessageRequest;
import io.github.mailroom_daemon.mailroom.v1.SupervisorServiceGrpc;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptors;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.netty.shaded.io.grpc.netty.GrpcSslContexts;
import io.grpc.netty.shaded.io.grpc.netty.NegotiationType;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollDomainSocketChannel;
import io.grpc.netty.shaded.io.netty.channel.epoll.EpollEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.unix.DomainSocketAddress;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import io.grpc.stub.MetadataUtils;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** The adapter for grpc-java (netty-shaded) and the generated code. */
public final class Adapter {
  private static final PrintStream OUT = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false, StandardCharsets.UTF_8);
  private static final EpollEventLoopGroup LOOPS = new EpollEventLoopGroup(1);
  private static final Map<String, Channel> CHANNELS = new ConcurrentHashMap<>();
  private static final Map<Integer, ClientCall<?, ?>> CALLS = new ConcurrentHashMap<>();
  private static final Map<String, MethodDescriptor<?, ?>> METHODS =
      Stream.of(MailboxServiceGrpc.getServiceDescriptor(), SupervisorServiceGrpc.getServiceDescriptor())
          .flatMap(service -> service.getMethods().stream())
          .collect(Collectors.toMap(MethodDescriptor::getBareMethodName, method -> method));

  private static synchronized void write(JsonObject line) {
    OUT.println(line);
    OUT.flush();
  }

  private static String text(JsonObject line, String key) {
    return line.has(key) ? line.get(key).getAsString() : "";
  }

  private static void open(JsonObject line) throws Exception {
    String target = text(line, "target");
    NettyChannelBuilder builder;
    if (target.startsWith("unix:")) {
      builder = NettyChannelBuilder.forAddress(new DomainSocketAddress(URI.create(target).getPath()))
          .channelType(EpollDomainSocketChannel.class).eventLoopGroup(LOOPS).overrideAuthority("localhost");
    } else {
      builder = NettyChannelBuilder.forTarget(target).proxyDetector(address -> null);
    }
    builder.negotiationType(NegotiationType.PLAINTEXT).maxInboundMessageSize(8 << 20);
    if (line.has("ca")) {
      var tls = GrpcSslContexts.forClient().trustManager(new File(text(line, "ca")));
      if (line.has("cert")) tls.keyManager(new File(text(line, "cert")), new File(text(line, "key")));
      builder.negotiationType(NegotiationType.TLS).sslContext(tls.build());
    }
    if (line.has("keepalive_ms")) {
      builder.keepAliveTime(line.get("keepalive_ms").getAsLong(), TimeUnit.MILLISECONDS).keepAliveWithoutCalls(true);
    }
    Channel channel = builder.build();
    if (line.has("token")) {
      Metadata headers = new Metadata();
      headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + text(line, "token"));
      channel = ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(headers));
    }
    CHANNELS.put(text(line, "name"), channel);
  }

  private static JsonObject errorOf(Throwable failure) {
    Status status = Status.fromThrowable(failure);
    JsonObject found = new JsonObject();
    found.addProperty("code", status.getCode().name());
    found.addProperty("message", String.valueOf(status.getDescription()));
    found.addProperty("reason", "");
    found.addProperty("field", "");
    var details = StatusProto.fromThrowable(failure);
    try {
      for (Any any : details == null ? java.util.List.<Any>of() : details.getDetailsList()) {
        if (any.is(ErrorInfo.class)) {
          found.addProperty("reason", any.unpack(ErrorInfo.class).getReason());
          found.addProperty("domain", any.unpack(ErrorInfo.class).getDomain());
        } else if (any.is(BadRequest.class)) {
          found.addProperty("field", any.unpack(BadRequest.class).getFieldViolations(0).getField());
        } else if (any.is(RetryInfo.class)) {
          found.addProperty("retry_ms", Durations.toMillis(any.unpack(RetryInfo.class).getRetryDelay()));
        }
      }
    } catch (com.google.protobuf.InvalidProtocolBufferException error) {
      found.addProperty("message", "the details are malformed: " + error);
    }
    return found;
  }

  @SuppressWarnings("unchecked")
  private static Message requestOf(MethodDescriptor<Message, Message> method, JsonElement json, boolean nan) throws Exception {
    var prototype = ((MethodDescriptor.PrototypeMarshaller<Message>) method.getRequestMarshaller()).getMessagePrototype();
    Message.Builder builder = prototype.newBuilderForType();
    JsonFormat.parser().merge(json.toString(), builder);
    if (nan) {
      Value value = Value.newBuilder().setNumberValue(Double.NaN).build();
      ((SendMessageRequest.Builder) builder).setMetadata(Struct.newBuilder().putFields("not a number", value));
    }
    return builder.build();
  }

  private static JsonElement json(Message message) throws Exception {
    return JsonParser.parseString(JsonFormat.printer().print(message));
  }

  @SuppressWarnings("unchecked")
  private static void run(JsonObject line) throws Exception {
    int id = line.get("id").getAsInt();
    String op = text(line, "op");
    JsonObject answer = new JsonObject();
    answer.addProperty("id", id);
    if (line.has("raw")) {
      answer.addProperty("unsupported", "grpc-java sends bytes only through a marshaller of the program's own");
      write(answer);
      return;
    }
    String name = op.equals("bulk") ? "SendMessages" : text(line, "method");
    var method = (MethodDescriptor<Message, Message>) METHODS.get(name);
    CallOptions options = CallOptions.DEFAULT;
    if (line.has("timeout_ms")) options = options.withDeadlineAfter(line.get("timeout_ms").getAsLong(), TimeUnit.MILLISECONDS);
    ClientCall<Message, Message> call = CHANNELS.get(text(line, "on")).newCall(method, options);
    CALLS.put(id, call);
    if (op.equals("bulk")) {
      ClientCalls.asyncBidiStreamingCall(call, new Observer(id, op, answer, method, line.getAsJsonArray("requests")));
      return;
    }
    Message request = requestOf(method, line.get("request"), line.has("nan"));
    Observer observer = new Observer(id, op, answer, method, new JsonArray());
    if (op.equals("stream")) ClientCalls.asyncServerStreamingCall(call, request, observer);
    else ClientCalls.asyncUnaryCall(call, request, observer);
  }

  /** Answers one operation; for a bulk send it writes while the peer can take more. */
  private record Observer(int id, String op, JsonObject answer, MethodDescriptor<Message, Message> method, JsonArray requests)
      implements ClientResponseObserver<Message, Message> {
    @Override
    public void beforeStart(ClientCallStreamObserver<Message> stream) {
      if (!op.equals("bulk")) return;
      answer.add("responses", new JsonArray());
      var left = requests.iterator();
      stream.setOnReadyHandler(() -> {
        try {
          while (stream.isReady() && left.hasNext()) {
            stream.onNext(requestOf(method, left.next(), false));
            if (!left.hasNext()) stream.onCompleted();
          }
        } catch (Exception error) {
          stream.cancel("the request cannot be made", error);
        }
      });
    }

    @Override
    public void onNext(Message message) {
      try {
        if (op.equals("unary")) answer.add("ok", json(message));
        else if (op.equals("bulk")) answer.getAsJsonArray("responses").add(json(message));
        else {
          JsonObject event = new JsonObject();
          event.addProperty("id", id);
          event.add("event", json(message));
          write(event);
        }
      } catch (Exception error) {
        answer.addProperty("unexpected", error.toString());
      }
    }

    @Override
    public void onError(Throwable failure) {
      answer.remove("responses");
      answer.add(op.equals("stream") ? "end" : "error", errorOf(failure));
      end();
    }

    @Override
    public void onCompleted() {
      if (op.equals("stream")) answer.add("end", JsonParser.parseString("{\"code\": \"OK\"}"));
      end();
    }

    private void end() {
      CALLS.remove(id);
      write(answer);
    }
  }

  public static void main(String[] arguments) throws Exception {
    String version = io.grpc.internal.GrpcUtil.getGrpcBuildVersion().getImplementationVersion();
    String runtime = "Java " + System.getProperty("java.version");
    write(JsonParser.parseString(String.format(
        "{\"hello\": {\"library\": \"grpc-java\", \"version\": \"%s\", \"runtime\": \"%s\", \"kind\": \"library\"}}", version, runtime)).getAsJsonObject());
    var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String text; (text = input.readLine()) != null; ) {
      JsonObject line = JsonParser.parseString(text).getAsJsonObject();
      switch (text(line, "op")) {
        case "open" -> {
          open(line);
          JsonObject answer = new JsonObject();
          answer.add("id", line.get("id"));
          write(answer);
        }
        case "cancel" -> {
          ClientCall<?, ?> call = CALLS.get(line.get("stream").getAsInt());
          if (call != null) call.cancel("cancelled by the program", null);
        }
        default -> run(line);
      }
    }
    System.exit(0);
  }
}
