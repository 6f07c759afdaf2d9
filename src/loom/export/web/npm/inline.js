// The same with the module inside the JavaScript, for bundlers that take no other files. Generated; do not edit.

import { Net as Beside } from "./index.js";
import { module } from "./bytes.js";

export { NetError } from "./index.js";

const bytes = () => Uint8Array.from(atob(module), (c) => c.charCodeAt(0));

export class Net extends Beside {
  static open(options = {}) {
    return super.open({ wasm: bytes(), ...options });
  }
}
