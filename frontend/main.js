import { Api } from "./api.js";
import { App } from "./app.js";
import { ServerClock } from "./clock.js";
import { language } from "./words.js";

document.documentElement.lang = language;
const clock = new ServerClock();
new App({ api: new Api(clock), clock, root: document.body }).start();
