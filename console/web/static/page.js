"use strict";

// xterm.js must comply with the strict Content-Security-Policy: its style sheets get this page's
// nonce, and its spans are styled through the CSSOM, which the policy does not restrict.
const nonce = document.currentScript.nonce;
const create = document.createElement.bind(document);
document.createElement = (name, options) => {
  const made = create(name, options);
  if (name === "style") made.nonce = nonce;
  return made;
};
const setAttribute = Element.prototype.setAttribute;
HTMLSpanElement.prototype.setAttribute = function (name, value) {
  if (name === "style") this.style.cssText = value;
  else setAttribute.call(this, name, value);
};

const PROTOCOL = "rpa-console";
const SILENCE_MS = 15000; // three times the server's heartbeat interval

// Remove the key from the address bar at once. Session storage keeps it for a reload of this tab.
if (location.hash) {
  sessionStorage.setItem("key", location.hash.slice(1));
  history.replaceState(null, "", "/");
}
const key = sessionStorage.getItem("key") || "";
addEventListener("hashchange", () => location.reload());

const terminal = new Terminal({
  allowProposedApi: true,
  fontFamily: "'JetBrains Mono', 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace",
  fontSize: 14,
  scrollback: 0,
  linkHandler: { activate() {} }, // links in the output must not open
  theme: { background: "#0b0e14" },
});
const fit = new FitAddon.FitAddon();
const encoder = new TextEncoder();
let socket = null;
let heard = 0;

function end(words) {
  document.body.classList.add("ended");
  document.querySelector("#word").textContent = words;
  document.querySelector("footer").hidden = false;
}

function send(data) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(data);
}

function connect() {
  if (!/^[\w-]+$/.test(key)) return end("Open the whole address that rpa-console serve printed.");
  document.body.classList.remove("ended");
  document.querySelector("footer").hidden = true;
  terminal.reset();
  fit.fit();
  terminal.focus();
  const size = `${terminal.cols}x${terminal.rows}`;
  const mine = new WebSocket(`ws://${location.host}/console?size=${size}`, [PROTOCOL, key]);
  let opened = false;
  mine.binaryType = "arraybuffer";
  mine.onopen = () => { opened = true; heard = Date.now(); };
  mine.onmessage = (message) => {
    heard = Date.now();
    if (typeof message.data !== "string") terminal.write(new Uint8Array(message.data));
  };
  mine.onclose = (closed) => {
    if (mine !== socket) return;
    const lost = opened ? "the line is lost" : "refused: an address of an earlier start, or the server has gone";
    end(`No longer live: ${closed.reason || lost}.`);
    socket = null;
  };
  socket = mine;
}

terminal.loadAddon(fit);
terminal.loadAddon(new Unicode11Addon.Unicode11Addon());
terminal.unicode.activeVersion = "11";
terminal.open(document.querySelector("#terminal"));
terminal.onData((keys) => send(encoder.encode(keys)));
terminal.onBinary((bytes) => send(Uint8Array.from(bytes, (one) => one.charCodeAt(0))));
terminal.onResize(({ cols, rows }) => send(`${cols}x${rows}`));
terminal.attachCustomKeyEventHandler((event) => {
  if (!socket && event.type === "keydown" && event.key === "Enter") connect();
  return socket !== null;
});
new ResizeObserver(() => fit.fit()).observe(document.querySelector("#terminal"));
document.querySelector("#again").onclick = connect;
setInterval(() => {
  if (!socket || socket.readyState !== WebSocket.OPEN || Date.now() - heard < SILENCE_MS) return;
  const silent = socket;
  socket = null;
  silent.close();
  end("No longer live: nothing was heard for 15 s.");
}, 1000);
connect();
