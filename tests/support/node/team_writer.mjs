// team_writer — writes a team inbox as Claude Code does: proper-lockfile around reading, pushing and writing in place.
//   node team_writer.mjs append FILE WRITER MILLISECONDS   appends at full speed, once at least; prints {"appended", "gaveUp"}
//   node team_writer.mjs hold FILE STALE_MS                takes the lock, prints "held", and holds it until it is killed;
//                                                          prints "compromised" when it notices that it lost the lock
// MAILROOM_NODE_MODULES is the directory in which scripts/need-npm has installed proper-lockfile.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const lockfile = createRequire(`${process.env.MAILROOM_NODE_MODULES}/`)("proper-lockfile");
const [task, file, ...rest] = process.argv.slice(2);

try {
  writeFileSync(file, "[]", { flag: "wx" });
} catch (error) {
  if (error.code !== "EEXIST") throw error;
}

async function append(writer, milliseconds) {
  const retries = { retries: 10, minTimeout: 5, maxTimeout: 100 };
  const end = Date.now() + Number(milliseconds);
  let appended = 0;
  let gaveUp = 0;
  do {
    let release;
    try {
      release = await lockfile.lock(file, { lockfilePath: `${file}.lock`, retries });
    } catch (error) {
      if (error.code !== "ELOCKED") throw error;
      gaveUp += 1; // Claude Code would drop the message; here it is tried again
      continue;
    }
    const entries = JSON.parse(readFileSync(file, "utf-8"));
    const text = `${appended} ${"é".repeat(appended % 300)}`;
    entries.push({ from: writer, text, timestamp: new Date().toISOString(), read: false, number: appended });
    writeFileSync(file, JSON.stringify(entries, null, 2), "utf-8");
    appended += 1;
    await release();
  } while (Date.now() < end);
  console.log(JSON.stringify({ appended, gaveUp }));
}

async function hold(stale) {
  const onCompromised = () => console.log("compromised");
  await lockfile.lock(file, { lockfilePath: `${file}.lock`, stale: Number(stale), onCompromised });
  console.log("held");
  setInterval(() => {}, 60_000); // the lock's own timers do not keep the process alive
}

await { append, hold }[task](...rest);
