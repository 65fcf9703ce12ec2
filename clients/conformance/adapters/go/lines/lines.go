// Package lines has what both Go adapters share: reading and writing JSON lines, and cancelling.
package lines

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// A Line is one line from the driver.
type Line struct {
	ID          int               `json:"id"`
	Op          string            `json:"op"`
	Name        string            `json:"name"`
	Target      string            `json:"target"`
	Token       *string           `json:"token"`
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

// An Answer is a line to the driver, without its id.
type Answer map[string]any

var output sync.Mutex

func write(answer Answer) {
	output.Lock()
	defer output.Unlock()
	Must(json.NewEncoder(os.Stdout).Encode(answer))
}

// Must ends the adapter after an error that no client can cause.
func Must(err error) {
	if err != nil {
		panic(err)
	}
}

// CodeName returns the name of a code as the contract has it: "InvalidArgument" as INVALID_ARGUMENT.
func CodeName(code codes.Code) string {
	var name strings.Builder
	for i, char := range code.String() {
		if i > 0 && char >= 'A' && char <= 'Z' && code != codes.OK {
			name.WriteByte('_')
		}
		name.WriteRune(char)
	}
	return strings.ReplaceAll(strings.ToUpper(name.String()), "CANCELED", "CANCELLED")
}

// Serve reads lines until the input ends. run returns the last line of an operation, and writes those of a stream before it.
func Serve(hello Answer, open func(Line), run func(ctx context.Context, line Line, event func(any)) Answer) {
	hello["runtime"] = runtime.Version()
	write(Answer{"hello": hello})
	var cancels sync.Map
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		text, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		var line Line
		Must(json.Unmarshal(text, &line))
		switch line.Op {
		case "open":
			open(line)
			write(Answer{"id": line.ID})
		case "cancel":
			if cancel, ok := cancels.Load(line.Stream); ok {
				cancel.(context.CancelFunc)()
			}
		default:
			ctx, cancel := contextOf(line)
			cancels.Store(line.ID, cancel)
			go func() {
				defer cancels.Delete(line.ID)
				defer cancel()
				answer := run(ctx, line, func(event any) { write(Answer{"id": line.ID, "event": event}) })
				answer["id"] = line.ID
				write(answer)
			}()
		}
	}
}

func contextOf(line Line) (context.Context, context.CancelFunc) {
	if line.TimeoutMS == 0 {
		return context.WithCancel(context.Background())
	}
	return context.WithTimeout(context.Background(), time.Duration(line.TimeoutMS)*time.Millisecond)
}
