/** What every page has: times in the viewer's zone, bars, keys, dialogs, menus. Modules of single pages are their own. */

import "./local-time.js";
import "./share-bar.js";
import { listenForDialogs } from "./dialogs.js";
import { listenForKeys } from "./keys.js";
import { keepLive } from "./live-part.js";
import { closeMenus } from "./menus.js";
import { fillMomentsHere } from "./moment-field.js";

listenForKeys(document);
listenForDialogs(document);
closeMenus(document);
fillMomentsHere(document);
keepLive(document);
