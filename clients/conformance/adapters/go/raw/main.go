// The adapter for grpc-go and the generated code of clients/go/mailroomv1: what a Go program without the SDK has.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"time"

	"github.com/mailroom-daemon/mailroom/clients/conformance/adapters/go/lines"
	"github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/structpb"
)

type connection struct {
	conn  *grpc.ClientConn
	token *string
}

var connections = map[string]connection{}

func read(file string) []byte {
	bytes, err := os.ReadFile(file)
	lines.Must(err)
	return bytes
}

func open(line lines.Line) {
	transport := insecure.NewCredentials()
	if line.CA != "" {
		config := &tls.Config{RootCAs: x509.NewCertPool()}
		config.RootCAs.AppendCertsFromPEM(read(line.CA))
		if line.Cert != "" {
			pair, err := tls.X509KeyPair(read(line.Cert), read(line.Key))
			lines.Must(err)
			config.Certificates = []tls.Certificate{pair}
		}
		transport = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(8 << 20)),
	}
	if line.KeepaliveMS != 0 {
		every := time.Duration(line.KeepaliveMS) * time.Millisecond
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: every, PermitWithoutStream: true}))
	}
	conn, err := grpc.NewClient(line.Target, options...)
	lines.Must(err)
	connections[line.Name] = connection{conn, line.Token}
}

func methodOf(name string) protoreflect.MethodDescriptor {
	services := mailroomv1.File_mailroom_v1_mailroom_proto.Services()
	for i := range services.Len() {
		if method := services.Get(i).Methods().ByName(protoreflect.Name(name)); method != nil {
			return method
		}
	}
	panic("no method " + name)
}

func newMessage(descriptor protoreflect.MessageDescriptor) proto.Message {
	kind, err := protoregistry.GlobalTypes.FindMessageByName(descriptor.FullName())
	lines.Must(err)
	return kind.New().Interface()
}

func requestOf(line lines.Line, method protoreflect.MethodDescriptor, text json.RawMessage) proto.Message {
	request := newMessage(method.Input())
	lines.Must(protojson.Unmarshal(text, request))
	if send, ok := request.(*mailroomv1.SendMessageRequest); ok && line.NaN {
		send.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{"not a number": structpb.NewNumberValue(math.NaN())}}
	}
	return request
}

func toJSON(message proto.Message) json.RawMessage {
	text, err := protojson.Marshal(message)
	lines.Must(err)
	return text
}

func errorOf(err error) lines.Answer {
	if err == nil || errors.Is(err, io.EOF) {
		return lines.Answer{"code": "OK"}
	}
	s := status.Convert(err)
	found := lines.Answer{"code": lines.CodeName(s.Code()), "message": s.Message(), "reason": "", "field": ""}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			found["reason"], found["domain"], found["metadata"] = d.Reason, d.Domain, d.Metadata
		case *errdetails.BadRequest:
			found["field"] = d.FieldViolations[0].Field
		case *errdetails.RetryInfo:
			found["retry_ms"] = d.RetryDelay.AsDuration().Milliseconds()
		}
	}
	return found
}

func run(ctx context.Context, line lines.Line, event func(any)) lines.Answer {
	if line.Raw != "" {
		return lines.Answer{"unsupported": "grpc-go sends bytes only through a codec of the program's own"}
	}
	if line.Op == "bulk" {
		line.Method = "SendMessages"
	}
	method := methodOf(line.Method)
	connection := connections[line.On]
	path := "/" + string(method.Parent().FullName()) + "/" + line.Method
	if connection.token != nil {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+*connection.token)
	}
	if line.Op == "unary" {
		response := newMessage(method.Output())
		if err := connection.conn.Invoke(ctx, path, requestOf(line, method, line.Request), response); err != nil {
			return lines.Answer{"error": errorOf(err)}
		}
		return lines.Answer{"ok": toJSON(response)}
	}
	description := &grpc.StreamDesc{ServerStreams: true, ClientStreams: method.IsStreamingClient()}
	stream, err := connection.conn.NewStream(ctx, description, path)
	if err == nil && line.Op == "stream" {
		return lines.Answer{"end": errorOf(subscribe(stream, line, method, event))}
	}
	var responses []json.RawMessage
	if err == nil {
		responses, err = bulk(stream, line, method)
	}
	switch {
	case line.Op == "stream":
		return lines.Answer{"end": errorOf(err)}
	case err != nil:
		return lines.Answer{"error": errorOf(err)}
	default:
		return lines.Answer{"responses": responses}
	}
}

func subscribe(stream grpc.ClientStream, line lines.Line, method protoreflect.MethodDescriptor, event func(any)) error {
	if stream.SendMsg(requestOf(line, method, line.Request)) == nil { // a failed write shows when reading
		_ = stream.CloseSend()
	}
	for {
		response := newMessage(method.Output())
		if err := stream.RecvMsg(response); err != nil {
			return err
		}
		event(toJSON(response))
	}
}

func bulk(stream grpc.ClientStream, line lines.Line, method protoreflect.MethodDescriptor) ([]json.RawMessage, error) {
	go func() { // responses are read meanwhile; a failed write shows there
		for _, text := range line.Requests {
			if stream.SendMsg(requestOf(line, method, text)) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	}()
	responses := []json.RawMessage{}
	for {
		response := newMessage(method.Output())
		if err := stream.RecvMsg(response); errors.Is(err, io.EOF) {
			return responses, nil
		} else if err != nil {
			return nil, err
		}
		responses = append(responses, toJSON(response))
	}
}

func main() {
	lines.Serve(lines.Answer{"library": "grpc-go", "version": grpc.Version, "kind": "library"}, open, run)
}
