// Mailroom's plugin for opencode, written by `mailroom setup opencode`; `--remove` removes it.
// It adds the MCP server, shows new mail with prompts and after tools, and wakes an idle session.
import { spawn } from "node:child_process"

const COMMAND = /*COMMAND*/ []
const AGENT = /*AGENT*/ null

// A run without a terminal ends with its answer. It would wait for its doorbell.
const canBeWoken = process.env.MAILROOM_WAKE === "always" || !process.argv.slice(2).includes("run")

const words = (name, ...more) => [...COMMAND.slice(1), name, "--dialect", "opencode", ...(AGENT ? ["--agent", AGENT] : []), ...more]

// Runs a command of ours with an event on stdin; gives its output, or "" if it fails: mail must never break a session.
const run = (args, event, started) =>
  new Promise((resolve) => {
    const child = spawn(COMMAND[0], args, { stdio: ["pipe", "pipe", "pipe"] })
    const out = { stdout: "", stderr: "" }
    started?.(child)
    child.stdout.on("data", (data) => (out.stdout += data))
    child.stderr.on("data", (data) => (out.stderr += data))
    child.on("error", () => resolve({ code: 1, ...out }))
    child.on("close", (code) => resolve({ code, ...out }))
    child.stdin.on("error", () => {})
    child.stdin.end(JSON.stringify(event))
  })

const mailFor = async (session, name, more = {}) => {
  const { stdout } = await run(words("hook"), { session_id: session, hook_event_name: name, ...more })
  try {
    return JSON.parse(stdout).hookSpecificOutput?.additionalContext ?? ""
  } catch {
    return ""
  }
}

export const Mailroom = async ({ client }) => {
  const subagents = new Set()
  let doorbell // of the session that was used last: all of them are one agent, and each message wakes it once

  const dismiss = () => {
    doorbell?.child.kill()
    doorbell = undefined
  }
  const arm = async (session) => {
    if (!canBeWoken) return
    dismiss()
    const event = { session_id: session, hook_event_name: "Stop" }
    const { code, stderr } = await run(words("doorbell", "--pid", String(process.pid)), event, (child) => (doorbell = { session, child }))
    if (code !== 2) return
    await client.session.promptAsync({ path: { id: session }, body: { parts: [{ type: "text", text: stderr }] } })
  }

  return {
    config: async (config) => {
      config.mcp ??= {}
      config.mcp.mailroom ??= {
        type: "local",
        command: [...COMMAND, "mcp"],
        environment: AGENT ? { MAILROOM_AGENT: AGENT } : {},
        enabled: true,
        timeout: 3700000, // wait_for_message waits for up to an hour
      }
    },
    "chat.message": async ({ sessionID }, { message, parts }) => {
      if (subagents.has(sessionID)) return
      dismiss()
      const text = await mailFor(sessionID, "UserPromptSubmit", { prompt: "-" })
      if (text) parts.push({ id: `prt_${Date.now().toString(16)}mailroom`, sessionID, messageID: message.id, type: "text", text, synthetic: true })
    },
    "tool.execute.after": async ({ tool, sessionID, args }, output) => {
      if (subagents.has(sessionID)) return
      const done = { tool_name: tool, tool_input: args ?? {}, tool_response: output.output ?? output.content }
      const text = await mailFor(sessionID, "PostToolUse", done)
      if (!text) return
      if (typeof output.output === "string") output.output += `\n${text}`
      else if (Array.isArray(output.content)) output.content.push({ type: "text", text })
    },
    event: async ({ event }) => {
      const { info, sessionID } = event.properties ?? {}
      if (event.type === "session.created" && info?.parentID) subagents.add(info.id)
      else if (event.type === "session.deleted" && doorbell?.session === (info?.id ?? sessionID)) dismiss()
      else if (event.type === "session.idle" && !subagents.has(sessionID)) arm(sessionID)
    },
  }
}
