// The adapter for grpc-go and the generated code of clients/go/mailroomv1: what a Go program without the SDK has.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
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

type line struct {
	ID          int               `json:"id"`
	Op          string            `json:"op"`
	Name        string            `json:"name"`
	Target      string            `json:"target"`
	Token       string            `json:"token"`
	CA          string            `json:"ca"`
	Cert        string            `json:"cert"`
	Key         string            `json:"key"`
	KeepaliveMS int               `json:"keepalive_ms"`
	On          string            `json:"on"`
	Method      string            `json:"method"`
	Request     json.RawMessage   `json:"request"`
	Requests    []json.RawMessage `json:"requests"`
	TimeoutMS   int               `json:"timeout_ms"`
	NaN         bool              `json:"nan"`
	Raw         string            `json:"raw"`
	Stream      int               `json:"stream"`
}

type connection struct {
	conn  *grpc.ClientConn
	token string
}

type answer map[string]any

var (
	connections = map[string]connection{}
	cancels     sync.Map
	output      sync.Mutex
)

func write(id int, fields answer) {
	if id != 0 {
		fields["id"] = id
	}
	output.Lock()
	defer output.Unlock()
	must(json.NewEncoder(os.Stdout).Encode(fields))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func read(file string) []byte {
	bytes, err := os.ReadFile(file)
	must(err)
	return bytes
}

func open(l line) {
	transport := insecure.NewCredentials()
	if l.CA != "" {
		config := &tls.Config{RootCAs: x509.NewCertPool()}
		config.RootCAs.AppendCertsFromPEM(read(l.CA))
		if l.Cert != "" {
			pair, err := tls.X509KeyPair(read(l.Cert), read(l.Key))
			must(err)
			config.Certificates = []tls.Certificate{pair}
		}
		transport = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(8 << 20)),
	}
	if l.KeepaliveMS != 0 {
		every := time.Duration(l.KeepaliveMS) * time.Millisecond
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: every, PermitWithoutStream: true}))
	}
	conn, err := grpc.NewClient(l.Target, options...)
	must(err)
	connections[l.Name] = connection{conn, l.Token}
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
	must(err)
	return kind.New().Interface()
}

func requestOf(l line, method protoreflect.MethodDescriptor, text json.RawMessage) proto.Message {
	request := newMessage(method.Input())
	must(protojson.Unmarshal(text, request))
	if send, ok := request.(*mailroomv1.SendMessageRequest); ok && l.NaN {
		send.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{"not a number": structpb.NewNumberValue(math.NaN())}}
	}
	return request
}

func toJSON(message proto.Message) json.RawMessage {
	text, err := protojson.Marshal(message)
	must(err)
	return text
}

func errorOf(err error) answer {
	if err == nil || errors.Is(err, io.EOF) {
		return answer{"code": "OK"}
	}
	s := status.Convert(err)
	found := answer{"code": codeName(s.Code()), "message": s.Message(), "reason": "", "field": ""}
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

func codeName(code codes.Code) string { // "InvalidArgument" as INVALID_ARGUMENT
	var name strings.Builder
	for i, char := range code.String() {
		if i > 0 && char >= 'A' && char <= 'Z' {
			name.WriteByte('_')
		}
		name.WriteRune(char)
	}
	name2 := strings.ToUpper(name.String())
	return strings.ReplaceAll(name2, "CANCELED", "CANCELLED")
}

func run(ctx context.Context, l line) answer {
	if l.Raw != "" {
		return answer{"unsupported": "grpc-go sends bytes only through a codec of the program's own"}
	}
	if l.Op == "bulk" {
		l.Method = "SendMessages"
	}
	method := methodOf(l.Method)
	connection := connections[l.On]
	path := "/" + string(method.Parent().FullName()) + "/" + l.Method
	if connection.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+connection.token)
	}
	if l.Op == "unary" {
		response := newMessage(method.Output())
		if err := connection.conn.Invoke(ctx, path, requestOf(l, method, l.Request), response); err != nil {
			return answer{"error": errorOf(err)}
		}
		return answer{"ok": toJSON(response)}
	}
	description := &grpc.StreamDesc{ServerStreams: true, ClientStreams: method.IsStreamingClient()}
	stream, err := connection.conn.NewStream(ctx, description, path)
	responses := []json.RawMessage{}
	if err == nil {
		if l.Op == "stream" {
			l.Requests = []json.RawMessage{l.Request}
		}
		go func() { // responses are read meanwhile; a failed write shows there
			for _, text := range l.Requests {
				if stream.SendMsg(requestOf(l, method, text)) != nil {
					return
				}
			}
			_ = stream.CloseSend()
		}()
	}
	for err == nil {
		response := newMessage(method.Output())
		if err = stream.RecvMsg(response); err != nil {
			break
		}
		if l.Op == "stream" {
			write(l.ID, answer{"event": toJSON(response)})
		} else {
			responses = append(responses, toJSON(response))
		}
	}
	if l.Op == "stream" {
		return answer{"end": errorOf(err)}
	}
	if errors.Is(err, io.EOF) {
		return answer{"responses": responses}
	}
	return answer{"error": errorOf(err)}
}

func main() {
	write(0, answer{"hello": answer{"library": "grpc-go", "version": grpc.Version, "runtime": runtime.Version(), "kind": "library"}})
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		text, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		var l line
		must(json.Unmarshal(text, &l))
		switch l.Op {
		case "open":
			open(l)
			write(l.ID, answer{})
		case "cancel":
			if cancel, ok := cancels.Load(l.Stream); ok {
				cancel.(context.CancelFunc)()
			}
		default:
			ctx, cancel := context.WithCancel(context.Background())
			if l.TimeoutMS != 0 {
				ctx, cancel = context.WithTimeout(ctx, time.Duration(l.TimeoutMS)*time.Millisecond)
			}
			cancels.Store(l.ID, cancel)
			go func() {
				defer cancel()
				write(l.ID, run(ctx, l))
				cancels.Delete(l.ID)
			}()
		}
	}
}
