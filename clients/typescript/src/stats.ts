/** Stats — counts, agents, and the state of the daemon and its workers. */

/** Whether the daemon accepts messages now. */
export type Health = 'serving' | 'notServing' | 'unknown';

/** Message counts of one mailbox. */
export interface MailboxStats {
  agent: string;
  total: number;
  unread: number;
  /** 0 if nothing is unread. */
  oldestUnreadAgeMs: number;
  subscribers: number;
  lastSeen?: Date;
}

/** The pending inbox files of one session. */
export interface QueueStats {
  session: string;
  pending: number;
  oldestAgeMs: number;
}

/** One agent. */
export interface AgentInfo {
  name: string;
  /** It is subscribed now, or was present within the last five minutes. */
  alive: boolean;
  lastSeen?: Date;
  /** The number of its open streams. */
  subscribers: number;
  unread: number;
  /** Its current aliases. */
  sessions: string[];
  /** The host that it is on, if it is another one; its name ends with it: `bob:build7`. */
  host?: string;
}

/** One process of the daemon. */
export interface WorkerStatus {
  /** `mailbox`, `command-queue`, `gateway`, … */
  name: string;
  pid: number;
  /** `starting`, `running`, `restarting` or `stopping`. */
  state: string;
  restarts: number;
  startedAt?: Date;
  /** How its predecessor ended, such as `killed by SIGKILL`; `''` if there was none. */
  lastExit: string;
}

/** The daemon as a whole. */
export interface Status {
  version: string;
  startedAt?: Date;
  workers: WorkerStatus[];
  /** How long read and expired messages are kept. */
  keepReadMs?: number;
  /** How many unread messages a mailbox may hold. */
  maxUnread?: number;
  /** The exchange of mail with other hosts, if the daemon runs with `--hub`. */
  hub?: HubStatus;
}

/** The exchange of mail with other hosts. */
export interface HubStatus {
  /** The name of this host. */
  host: string;
  /** Mail is exchanged. */
  connected: boolean;
  /** When the hub last answered. */
  lastContact?: Date;
  /** Why no mail is exchanged; `''` if it is. */
  problem: string;
  /** The other hosts, by name. */
  hosts: HostStatus[];
}

/** Another host. */
export interface HostStatus {
  name: string;
  /** When it last wrote to the hub. */
  lastSeen?: Date;
  /** The number of messages that wait here until it confirms them. */
  waiting: number;
  /** Their size. */
  waitingBytes: number;
  /** Why nothing is sent to it; `''` if nothing is in the way. */
  problem: string;
}

/** How many messages one sender sent to one mailbox. */
export interface PairTraffic {
  sender: string;
  recipient: string;
  messages: number;
}

/** Who talks to whom. */
export interface Traffic {
  /** The most messages first. */
  pairs: PairTraffic[];
  /** Since when messages are counted; later than asked for where that would have taken too long. */
  since?: Date;
  /** The number of all that are counted. */
  messages: number;
}

/** One metric sample, with the name and labels that Prometheus sees. */
export interface MetricSample {
  name: string;
  labels: Record<string, string>;
  value: number;
}
