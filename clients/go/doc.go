// Package mailroom is the Go client of Mailroom: durable messages between software agents on one machine.
//
// A [Client] locates the daemon by itself, and repeats what is safe to repeat: nothing is lost or doubled. Goroutines share it.
//
//	room, err := mailroom.Open(mailroom.WithSender("dashboard"))
//	...
//	sent, err := room.Send(ctx, "abc", "go", mailroom.Metadata{"build": 7}, mailroom.High)
//
// A context ends a call, and its deadline bounds the call with all of its repetitions. A call whose context has no deadline gets
// 30 seconds ([WithTimeout]); subscriptions have no limit.
//
// Every error of a call is an [*Error] with a code, a [Reason], and the field or the delay if there is one. A Reason is an error
// itself, so errors.Is(err, mailroom.ErrMailboxFull) works. Where a context has ended, errors.Is(err, context.Canceled) or
// errors.Is(err, context.DeadlineExceeded) holds as well.
//
// The package mailroomv1 beside this one is the generated code of the contract, for programs that need gRPC itself.
package mailroom
