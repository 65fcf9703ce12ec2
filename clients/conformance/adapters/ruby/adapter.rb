# frozen_string_literal: true

# The adapter for grpc and google-protobuf of Ruby, with generated code on the load path.
require 'grpc'
require 'json'
require 'google/protobuf/well_known_types'
require 'google/rpc/error_details_pb'
require 'google/rpc/status_pb'
require 'mailroom/v1/mailroom_services_pb'

SERVICES = [Mailroom::V1::MailboxService, Mailroom::V1::SupervisorService].freeze
CODES = GRPC::Core::StatusCodes.constants.to_h { |name| [GRPC::Core::StatusCodes.const_get(name), name.to_s] }
DETAILS = [Google::Rpc::ErrorInfo, Google::Rpc::BadRequest, Google::Rpc::RetryInfo].freeze
DEPTH = 100 # of nested protobuf messages; 64 by default, which is metadata of 20 levels
OPTIONS = { 'grpc.enable_http_proxy' => 0, 'grpc.max_receive_message_length' => 8 << 20 }.freeze

$connections = {}
$calls = {}
$output = Mutex.new

def write(line)
  $output.synchronize do
    $stdout.write("#{JSON.generate(line)}\n")
    $stdout.flush
  end
end

def open_connection(line)
  read = ->(key) { line[key] && File.read(line[key]) }
  credentials = line['ca'] ? GRPC::Core::ChannelCredentials.new(read['ca'], read['key'], read['cert']) : :this_channel_is_insecure
  options = OPTIONS.dup
  if line['keepalive_ms']
    options['grpc.keepalive_time_ms'] = line['keepalive_ms']
    options['grpc.http2.max_pings_without_data'] = 0
  end
  metadata = line['token'] ? { 'authorization' => "Bearer #{line['token']}" } : {}
  $connections[line['name']] = [GRPC::ClientStub.new(line['target'], credentials, channel_args: options), metadata]
end

def error_of(error)
  found = { code: CODES[error.code], message: error.details, reason: '', field: '' }
  trailer = error.metadata['grpc-status-details-bin']
  details = trailer ? Google::Rpc::Status.decode(trailer).details : []
  details.each do |any|
    case (detail = DETAILS.filter_map { |type| any.unpack(type) if any.is(type) }.first)
    when Google::Rpc::ErrorInfo
      found.update(reason: detail.reason, domain: detail.domain, metadata: detail.metadata.to_h)
    when Google::Rpc::BadRequest then found[:field] = detail.field_violations.first.field
    when Google::Rpc::RetryInfo
      found[:retry_ms] = (detail.retry_delay.seconds * 1000) + (detail.retry_delay.nanos / 1_000_000)
    end
  end
  found
end

def request_of(line, type, json)
  request = type.decode_json(JSON.generate(json))
  if line['nan']
    value = Google::Protobuf::Value.new(number_value: Float::NAN)
    request.metadata = Google::Protobuf::Struct.new(fields: { 'not a number' => value })
  end
  request
end

def json_of(message)
  JSON.parse(message.to_json)
end

# Prepares the call of a line; it is remembered, so that a cancel line can end it.
def prepare(line)
  name = line.fetch('method', 'SendMessages').to_sym
  service = SERVICES.find { |one| one::Service.rpc_descs.key?(name) }
  rpc = service::Service.rpc_descs[name]
  input, output = [rpc.input, rpc.output].map { |type| type.respond_to?(:type) ? type.type : type }
  stub, metadata = $connections[line['on']]
  options = { metadata: metadata, return_op: true }
  options[:deadline] = Time.now + (line['timeout_ms'] / 1000.0) if line['timeout_ms']
  path = "/#{service::Service.service_name}/#{name}"
  marshal = [->(message) { message.class.encode(message, recursion_limit: DEPTH) }, ->(bytes) { output.decode(bytes, recursion_limit: DEPTH) }]
  kind = { 'unary' => :request_response, 'stream' => :server_streamer, 'bulk' => :bidi_streamer }[line['op']]
  request = line['op'] == 'bulk' ? line['requests'].map { |one| request_of(line, input, one) } : request_of(line, input, line['request'])
  $calls[line['id']] = stub.public_send(kind, path, request, *marshal, **options)
end

def run(line, call)
  case line['op']
  when 'unary' then { ok: json_of(call.execute) }
  when 'stream'
    call.execute.each { |event| write(id: line['id'], event: json_of(event)) }
    { end: { code: 'OK' } }
  else { responses: call.execute.map { |one| json_of(one) } }
  end
rescue GRPC::BadStatus => e
  { (line['op'] == 'stream' ? :end : :error) => error_of(e) }
end

write(hello: { library: 'grpc', version: GRPC::VERSION, runtime: "Ruby #{RUBY_VERSION}", kind: 'library' })
$stdin.each_line do |text|
  line = JSON.parse(text)
  case line['op']
  when 'open'
    open_connection(line)
    write(id: line['id'])
  when 'cancel' then $calls[line['stream']]&.cancel
  else
    if line['raw']
      write(id: line['id'], unsupported: 'Ruby sends bytes only through a marshaller of the program’s own')
      next
    end
    call = prepare(line) # here, so that a cancel line finds it
    Thread.new do
      write(id: line['id'], **run(line, call))
    rescue StandardError => e
      write(id: line['id'], unexpected: "#{e.class}: #{e.message} #{e.backtrace.first(3)}")
    end
  end
end
