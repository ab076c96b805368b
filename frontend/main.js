import { Api } from "./api.js";
import { App } from "./app.js";
import { ServerClock } from "./clock.js";

const clock = new ServerClock();
new App({ api: new Api(clock), clock, root: document.body }).start();
