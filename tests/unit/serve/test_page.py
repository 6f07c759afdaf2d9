"""The page's script in node, over a document that is no more than what the script asks of one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import loom

NODE = shutil.which("node")
PAGE = (Path(loom.__file__).parent / "serve/http/page.html").read_text(encoding="utf-8")
DOCUMENT = """
const vm = require("node:vm");
class Node {
  constructor(name) { Object.assign(this, { name, value: "", children: [], on: {}, dataset: {}, hidden: true }); }
  append(...more) { this.children.push(...more); for (const each of more) if (each.on) each.parentNode = this; }
  replaceChildren(...more) { this.children = more; }
  addEventListener(kind, what) { this.on[kind] = what; }
  scrollIntoView() {} focus() {} click() { return this.on.click?.({ preventDefault() {} }); }
  get firstChild() { return this.children[0]; }
  get text() { return (this.textContent ?? "") + this.children.map((c) => c.text ?? c.data ?? c).join(""); }
}
const ids = {};
const document = {
  getElementById: (id) => ids[id] ??= new Node(id), createElement: (name) => new Node(name),
  createTextNode: (data) => ({ data }), body: new Node("body"),
};
class Option extends Node { constructor(text, value) { super("option"); this.value = value; } }
const asked = [], streams = [];
async function fetch(path, options) {
  if (path === "/v1/models") return Response.json({ data: [{ id: "m", tasks: ["text"] }] });
  if (path.startsWith("/v1/receipts")) { asked.push([path, options.headers]); return new Response("{}"); }
  asked.push(JSON.parse(options.body));
  let to;
  const body = new ReadableStream({ start(it) { to = it; } });
  if (heeds) options.signal.addEventListener("abort", () => to.error(options.signal.reason));
  const say = (value) => to.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(value)}\\n\\n`));
  streams.push({
    say: (content) => say({ choices: [{ delta: { content } }] }), fail: (message) => say({ error: { message } }),
    end: () => { say({ choices: [], receipt_id: "ab".repeat(32) }); try { to.close(); } catch {} },
  });
  return new Response(body);
}
let heeds = true;
Object.assign(globalThis, { document, Option, fetch, innerWidth: 1000 });
const rest = () => new Promise((done) => setTimeout(done, 20));
const run = (text) => vm.runInThisContext(text);
const write = (text) => { ids.prompt.value = text; ids.form.on.submit({ preventDefault() {} }); };
const told = {};
(async () => {
  run(require("node:fs").readFileSync("page.js", "utf8"));
  await rest();
  STEPS
  console.log(JSON.stringify(told));
})();
"""


def page(folder: Path, steps: str) -> Any:
    """Return what steps tell of the page: they may use ``write``, ``streams``, ``asked``, ``ids`` and ``run``."""
    (script,) = re.findall(r"<script>(.*?)</script>", PAGE, re.DOTALL)
    (folder / "page.js").write_text(script, encoding="utf-8")
    (folder / "main.js").write_text(DOCUMENT.replace("STEPS", steps), encoding="utf-8")
    done = subprocess.run([str(NODE), "main.js"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(NODE is None, reason="node, which runs the page's script, is not installed")
@pytest.mark.parametrize("end", ["stream.end()", "stream.fail('gone')", ""])
@pytest.mark.parametrize("heeds", ["true", "false"], ids=["aborts", "goes on"])
def test_a_new_chat_knows_nothing_of_the_answer_that_it_ended(tmp_path: Path, heeds: str, end: str) -> None:
    told = page(tmp_path, f"""
        heeds = {heeds};
        write("one"); await rest();
        const [stream] = streams;
        stream.say("There was a"); await rest();
        told.before = ids.log.text;
        ids.clear.click();
        write("two");  // at once: nobody waits for the end of what was left
        if ({json.dumps(end)} && !heeds) {{ stream.say(" cat"); {end}; }}
        await rest();
        told.log = ids.log.text; told.prompt = ids.prompt.value; told.busy = ids.send.disabled;
        streams[1].say("yes"); streams[1].end(); await rest();
        told.messages = run("messages"); told.idle = !ids.send.disabled;
        told.asked = asked.map((each) => each.messages);
    """)  # fmt: skip
    user = [{"role": "user", "content": "two"}]
    assert told["before"] == "oneThere was a"
    assert (told["log"], told["prompt"], told["busy"]) == ("two", "", True)
    assert told["asked"] == [[{"role": "user", "content": "one"}], user]
    assert told["messages"] == [*user, {"role": "assistant", "content": "yes"}]
    assert told["idle"]


@pytest.mark.skipif(NODE is None, reason="node, which runs the page's script, is not installed")
def test_settings_that_are_empty_are_left_to_the_server(tmp_path: Path) -> None:
    told = page(tmp_path, """
        for (const [id, value] of [["temperature", "0.5"], ["seed", "0"], ["most", ""]]) ids[id] = Object.assign(
          document.getElementById(id), { value });
        write("x"); await rest();
        streams[0].say("yes"); streams[0].end(); await rest();
        document.getElementById("key").value = "the-key";
        const small = ids.log.children[1].children[1];
        told.note = small.text;
        globalThis.URL = { createObjectURL: () => "blob:x", revokeObjectURL() {} };
        await small.children[1].click();
        told.asked = asked;
    """)  # fmt: skip
    first, (path, headers) = told["asked"]
    assert {name: first.get(name) for name in ("temperature", "seed", "max_tokens")} == {
        "temperature": 0.5, "seed": 0, "max_tokens": None}  # fmt: skip
    assert "receipt abababababab" in told["note"]
    assert (path, headers["Authorization"]) == ("/v1/receipts/" + "ab" * 32, "Bearer the-key")
