export { WHIPClient as EyevinnClient } from "@eyevinn/whip-web-client";
export { WHIPClient } from "whip-whep/whip.js";
export { WHEPClient } from "whip-whep/whep.js";
