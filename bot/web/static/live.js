// The connection to the program: one websocket that comes back for ever, and JSON actions.

const QUIET_MS = 25000; // the program sends a beat every ten seconds
const SLOWEST_MS = 5000;

/** Calls `on[kind](body)` for every frame, and `on.connection(open)` when the connection comes or goes. */
export function follow(on) {
  let socket = null;
  let heard = 0;
  let pause = 300;
  let assets = null;

  function open() {
    const query = new URLSearchParams(location.search).get("token");
    const suffix = query ? `?token=${encodeURIComponent(query)}` : "";
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live${suffix}`);
    heard = Date.now();
    socket.onmessage = (message) => {
      heard = Date.now();
      let body;
      try {
        body = JSON.parse(message.data);
      } catch {
        return;
      }
      if (body.kind === "everything") {
        if (assets !== null && assets !== body.assets) return location.reload();
        assets = body.assets;
        pause = 300;
        on.connection?.(true);
      }
      on[body.kind]?.(body);
    };
    socket.onclose = later;
  }

  function later() {
    on.connection?.(false);
    setTimeout(open, pause * (0.75 + Math.random() / 2));
    pause = Math.min(SLOWEST_MS, pause * 1.6);
  }

  setInterval(() => {
    if (socket?.readyState === WebSocket.OPEN && Date.now() - heard > QUIET_MS) {
      const deaf = socket;
      deaf.onmessage = deaf.onclose = null;
      deaf.close();
      later();
    }
  }, 2000);
  open();
}

/** Sends an action; gives the sentence of a refusal, or "" when it was done. */
export async function act(name, body) {
  try {
    const answer = await fetch(`/api/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (answer.ok) return "";
    const type = answer.headers.get("Content-Type") ?? "";
    return type.startsWith("application/json") ? (await answer.json()).error : (await answer.text()).trim();
  } catch {
    return "Backchat cannot be reached; is it still running?";
  }
}
