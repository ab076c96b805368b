import { Api } from "./api.js";
import { App } from "./app.js";
import { ServerClock } from "./clock.js";
import { GuestPage } from "./guest.js";
import { routeOf } from "./routes.js";
import { language } from "./words.js";

document.documentElement.lang = language;
const clock = new ServerClock();
const route = routeOf(location.pathname);
const page = { clock, root: document.body };
if (route.view === "guest") new GuestPage({ ...page, token: route.token }).start();
else new App({ ...page, api: new Api(clock) }).start();
