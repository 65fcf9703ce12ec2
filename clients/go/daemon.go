package mailroom

import (
	"context"
	"iter"
	"time"

	"google.golang.org/grpc"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/mailroom-daemon/mailroom/clients/go/mailroomv1"
)

var (
	listAgents      = mailbox(pb.MailboxServiceClient.ListAgents)
	getMailboxStats = mailbox(pb.MailboxServiceClient.GetMailboxStats)
	getTraffic      = mailbox(pb.MailboxServiceClient.GetTraffic)
	getQueueStats   = mailbox(pb.MailboxServiceClient.GetQueueStats)
	setAlias        = mailbox(pb.MailboxServiceClient.SetAlias)
)

// Agents returns the agents that have been present, by name.
func (c *Client) Agents(ctx context.Context, options ...AgentsOption) iter.Seq2[*Agent, error] {
	var fields agentsFields
	for _, option := range options {
		option.applyToAgents(&fields)
	}
	return pages(func(token string) ([]*Agent, string, error) {
		size, err := countOf("page_size", fields.page.size)
		if err != nil {
			return nil, "", err
		}
		request := &pb.ListAgentsRequest{AliveOnly: fields.alive, AllHosts: fields.allHosts, PageSize: size, PageToken: token}
		response, err := call(ctx, c, 0, listAgents, request)
		return mapped(response.GetAgents(), agentFrom), response.GetNextPageToken(), err
	})
}

// MailboxStats returns the counts of one mailbox, or of every mailbox if agent is empty, by name.
func (c *Client) MailboxStats(ctx context.Context, agent string, options ...StatsOption) iter.Seq2[*MailboxStats, error] {
	return statsPages("agent", agent, options, func(size int32, token string) ([]*MailboxStats, string, error) {
		request := &pb.GetMailboxStatsRequest{Agent: agent, PageSize: size, PageToken: token}
		response, err := call(ctx, c, 0, getMailboxStats, request)
		return mapped(response.GetMailboxes(), mailboxStatsFrom), response.GetNextPageToken(), err
	})
}

// Traffic returns how many messages of a period until now each sender sent to each mailbox. Over TCP it needs an administrator's token.
func (c *Client) Traffic(ctx context.Context, period time.Duration) (*Traffic, error) {
	response, err := call(ctx, c, 0, getTraffic, &pb.GetTrafficRequest{Period: durationpb.New(period)})
	if err != nil {
		return nil, err
	}
	return trafficFrom(response), nil
}

// QueueStats returns the number of pending inbox files of one session, or of each session that has any if session is empty, by name.
func (c *Client) QueueStats(ctx context.Context, session string, options ...StatsOption) iter.Seq2[*QueueStats, error] {
	return statsPages("session_id", session, options, func(size int32, token string) ([]*QueueStats, string, error) {
		request := &pb.GetQueueStatsRequest{SessionId: session, PageSize: size, PageToken: token}
		response, err := call(ctx, c, 0, getQueueStats, request)
		return mapped(response.GetQueues(), queueStatsFrom), response.GetNextPageToken(), err
	})
}

func statsPages[Entry any](
	field, name string, options []StatsOption, fetch func(size int32, token string) ([]Entry, string, error),
) iter.Seq2[Entry, error] {
	var fields pageFields
	for _, option := range options {
		option.applyToStats(&fields)
	}
	return pages(func(token string) ([]Entry, string, error) {
		size, err := countOf("page_size", fields.size)
		if err == nil {
			err = checkText(field, name)
		}
		if err != nil {
			return nil, "", err
		}
		return fetch(size, token)
	})
}

// SetAlias makes a session an alias of an agent: mail for the session then goes to the agent's mailbox, for 24 hours or a [TTL]. It
// returns when the alias expires.
func (c *Client) SetAlias(ctx context.Context, agent, session string, options ...AliasOption) (time.Time, error) {
	var fields aliasFields
	for _, option := range options {
		option.applyToAlias(&fields)
	}
	return c.alias(ctx, agent, session, durationOf(fields.ttl))
}

// EndAlias ends an alias.
func (c *Client) EndAlias(ctx context.Context, agent, session string) error {
	_, err := c.alias(ctx, agent, session, durationpb.New(0))
	return err
}

func (c *Client) alias(ctx context.Context, agent, session string, ttl *durationpb.Duration) (time.Time, error) {
	err := checkText("agent", agent)
	if err == nil {
		err = checkText("session", session)
	}
	if err != nil {
		return time.Time{}, err
	}
	response, err := call(ctx, c, 0, setAlias, &pb.SetAliasRequest{Agent: agent, Session: session, Ttl: ttl})
	return timeFrom(response.GetExpiresAt()), err
}

// Healthy says whether the daemon accepts messages now, by the standard health service of gRPC.
func (c *Client) Healthy(ctx context.Context) (bool, error) {
	response, err := call(ctx, c, 0, checkHealth, &health.HealthCheckRequest{})
	return response.GetStatus() == health.HealthCheckResponse_SERVING, err
}

// Status returns the daemon's version and its workers. Over TCP it needs an administrator's token.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	response, err := call(ctx, c, 0, getStatus, &pb.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	return statusFrom(response), nil
}

// Metrics returns the daemon's metrics. Over TCP it needs an administrator's token.
func (c *Client) Metrics(ctx context.Context) ([]Metric, error) {
	response, err := call(ctx, c, 0, getMetrics, &pb.GetMetricsRequest{})
	if err != nil {
		return nil, err
	}
	return mapped(response.GetSamples(), metricFrom), nil
}

func checkHealth(
	ctx context.Context, channel grpc.ClientConnInterface, request *health.HealthCheckRequest, options ...grpc.CallOption,
) (*health.HealthCheckResponse, error) {
	return health.NewHealthClient(channel).Check(ctx, request, options...)
}

func getStatus(
	ctx context.Context, channel grpc.ClientConnInterface, request *pb.GetStatusRequest, options ...grpc.CallOption,
) (*pb.GetStatusResponse, error) {
	return pb.NewSupervisorServiceClient(channel).GetStatus(ctx, request, options...)
}

func getMetrics(
	ctx context.Context, channel grpc.ClientConnInterface, request *pb.GetMetricsRequest, options ...grpc.CallOption,
) (*pb.GetMetricsResponse, error) {
	return pb.NewSupervisorServiceClient(channel).GetMetrics(ctx, request, options...)
}
