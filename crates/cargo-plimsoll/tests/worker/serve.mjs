#!/usr/bin/env node
// Serves a built Worker with workerd on a free port of this machine, asks it for its routes, and stops it:
//
//   serve.mjs site|pack BUILD_DIR
//
// The Worker's settings and bindings are read from its fixture's wrangler.toml, its modules from BUILD_DIR; workerd is
// taken from PATH. Exits with 0 when all of it holds.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const PATIENCE = 20_000; // Milliseconds for any one answer, which takes under a second, also beside a build.

// What each fixture must answer, in this order: path, status, content type, body, and what the console says meanwhile.
const ROUTES = {
  site: [
    ["/", 200, /^text\/plain/, /^a page of site$/],
    ["/json/plimsoll", 200, /^application\/json/, /^{"name":"plimsoll","letters":8}$/],
    ["/greeting", 200, /^text\/plain/, /^from the binding$/],
    ["/nowhere", 404, /^none$/, /^Not Found$/],
    ["/panic", 500, /^none$/, /^Internal Server Error$/, /site: panicked at src\/lib\.rs:\d+:\d+:\s+asked to/],
    ["/json/again", 200, /^application\/json/, /^{"name":"again","letters":5}$/, /Reinitializing Wasm application/],
  ],
  pack: [
    ["/add?a=1&b=2", 200, /^application\/json/, /^{"sum":3}$/],
    ["/add?a=4294967295&b=1", 400, /^text\/plain/, /^4294967295 \+ 1 is too large$/],
    ["/add?a=20&b=22", 200, /^application\/json/, /^{"sum":42}$/],
    ["/nowhere", 404, /^text\/plain/, /^not found$/],
  ],
};

const [fixture, directory] = process.argv.slice(2);
if (!(fixture in ROUTES) || directory === undefined) {
  console.error(`usage: serve.mjs ${Object.keys(ROUTES).join("|")} BUILD_DIR`);
  process.exit(2);
}

/** The strings that stand before the first table of a wrangler.toml, and those of its table `vars`. */
function settings(path) {
  const tables = { "": {} };
  let table = "";
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const [, header] = /^\[(\w+)\]$/.exec(line) ?? [];
    if (header !== undefined) tables[(table = header)] = {};
    const [, key, value] = /^(\w+) = (".*")$/.exec(line) ?? [];
    if (key !== undefined) tables[table][key] = JSON.parse(value);
  }
  return { ...tables[""], vars: tables.vars ?? {} };
}

/** workerd's configuration, to be written beside `build`: a Cap'n Proto text, whose strings are as JSON's. */
function configuration({ main, compatibility_date, vars }, build) {
  const entry = basename(main);
  const files = readdirSync(build).filter((file) => file !== entry && /\.(js|wasm)$/.test(file));
  const module = (name, file) => {
    const kind = file.endsWith(".wasm") ? "wasm" : "esModule";
    return `(name = ${JSON.stringify(name)}, ${kind} = embed ${JSON.stringify(`build/${file}`)})`;
  };
  // The first module is the Worker. The others are named as it imports them, so with their "./".
  const modules = [module(entry, entry), ...files.sort().map((file) => module(`./${file}`, file))];
  const bindings = Object.entries(vars).map(
    ([name, text]) => `(name = ${JSON.stringify(name)}, text = ${JSON.stringify(text)})`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [${modules.join(",\n      ")}],
    bindings = [${bindings.join(", ")}],
    compatibilityDate = ${JSON.stringify(compatibility_date)},
  ))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
`;
}

/** Waits for what a promise brings, yet not for ever. */
function soon(what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${PATIENCE} ms`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks for one route, and throws what is not as it must be. */
async function check(port, console_, [path, status, type, body, said]) {
  const before = console_.text.length;
  const response = await soon(path, fetch(`http://127.0.0.1:${port}${path}`));
  const text = await soon(path, response.text());
  const given = response.headers.get("content-type") ?? "none";
  const got = `${response.status} ${given} ${JSON.stringify(text)}`;
  const holds = response.status === status && type.test(given) && body.test(text);
  if (!holds) throw new Error(`${path}: expected ${status} ${type} ${body}, got ${got}`);
  console.log(`ok: ${fixture} ${path}: ${got}`);
  if (said === undefined) return;
  await soon(`${path}: ${said} on the console`, console_.until(() => said.test(console_.text.slice(before))));
  const [words] = said.exec(console_.text.slice(before));
  console.log(`ok: ${fixture} ${path}: on the console ${JSON.stringify(words)}`);
}

const scratch = mkdtempSync(join(tmpdir(), "serve-"));
let server;
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    server?.kill("SIGKILL");
    rmSync(scratch, { recursive: true });
    process.exit(1);
  });
}
try {
  const here = dirname(fileURLToPath(import.meta.url));
  // Files are embedded by their way from the configuration.
  symlinkSync(resolve(directory), join(scratch, "build"));
  const config = join(scratch, "config.capnp");
  writeFileSync(config, configuration(settings(join(here, fixture, "wrangler.toml")), directory));

  // The third descriptor tells the port that workerd was given.
  server = spawn("workerd", ["serve", "--control-fd=3", config], { stdio: ["ignore", "pipe", "pipe", "pipe"] });
  const ended = new Promise((resolve) => {
    server.on("error", resolve);
    server.on("exit", (code, signal) => resolve(new Error(`workerd ended: ${code ?? signal}`)));
  });
  const console_ = {
    text: "",
    waiting: [],
    until: (holds) => new Promise((resolve) => (holds() ? resolve() : console_.waiting.push({ holds, resolve }))),
  };
  for (const stream of [server.stdout, server.stderr]) {
    stream.setEncoding("utf8").on("data", (data) => {
      console_.text += data;
      console_.waiting = console_.waiting.filter(({ holds, resolve }) => !holds() || resolve());
    });
  }
  const listening = new Promise((resolve) => {
    let heard = "";
    server.stdio[3].setEncoding("utf8").on("data", (data) => {
      heard += data;
      const line = heard.split("\n").find((line) => line.includes('"listen"') && line.endsWith("}"));
      if (line !== undefined) resolve(JSON.parse(line).port);
    });
  });
  try {
    const port = await soon("workerd", Promise.race([listening, ended]));
    if (port instanceof Error) throw port;
    for (const route of ROUTES[fixture]) await check(port, console_, route);
  } catch (error) {
    console.error(`${error.message}${error.cause ? `: ${error.cause.message}` : ""}\nworkerd said:\n${console_.text}`);
    process.exitCode = 1;
  } finally {
    server.kill("SIGKILL");
    await ended;
  }
} finally {
  rmSync(scratch, { recursive: true });
}
