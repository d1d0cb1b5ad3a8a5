// Serves what wasm-bindgen made with `--target bundler`. Its own entry, `pack.js`, takes a Wasm file for a module with
// exports; a Worker is given a `WebAssembly.Module`, which is instantiated here in that entry's place.
import * as bindings from "./pack_bg.js";
import module from "./pack_bg.wasm";

const instance = new WebAssembly.Instance(module, { "./pack_bg.js": bindings });
bindings.__wbg_set_wasm(instance.exports);
instance.exports.__wbindgen_start();

export default {
  async fetch(request) {
    const url = new URL(request.url);
    if (url.pathname !== "/add") return new Response("not found", { status: 404 });
    try {
      const sum = bindings.add(Number(url.searchParams.get("a")), Number(url.searchParams.get("b")));
      return Response.json({ sum });
    } catch (error) {
      return new Response(error.message, { status: 400 });
    }
  },
};
