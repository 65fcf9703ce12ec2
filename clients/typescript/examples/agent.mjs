// agent — an agent that counts the words of each message that it gets, and answers.
//
//   node examples/agent.mjs counter
//   mailroom send counter 'how many words are these' --from me    # in another terminal; then: mailroom inbox me
//
// It begins with what is unread, survives restarts of the daemon, and ends in order on Ctrl-C. A message is marked read only
// once its answer is durable, and the answer has the message's id in its key. So if the agent is killed in between, its
// successor answers the message again, and that is still one answer.
import { Mailroom } from 'mailroom-client';

const name = process.argv[2] ?? 'counter';
const room = new Mailroom({ sender: name });
const subscription = room.subscribe(name, {
  unread: true,
  onInterrupted: (error) => console.error(`${name}: reconnecting: ${error.message}`),
});
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => subscription.close());

for await (const event of subscription) {
  if (event.kind === 'caughtUp') console.log(`${name}: waiting for messages`);
  if (event.kind !== 'message' || event.message.sender === name) continue;
  const { id, sender, content } = event.message;
  const count = content.split(/\s+/).filter(Boolean).length;
  try {
    await room.reply(event.message, `${count} words`, { acknowledge: true, key: `answer-to-${id}` });
    console.log(`${name}: ${sender} sent ${count} words`);
  } catch (error) {
    console.error(`${name}: no answer to ${id}: ${error.message}`);
  }
}
await room.close();
