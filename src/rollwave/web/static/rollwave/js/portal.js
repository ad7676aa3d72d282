/** What every page has: times in the viewer's zone, keys, dialogs, menus. Modules of single pages are their own. */

import "./local-time.js";
import { listenForKeys } from "./keys.js";
import { listenForDialogs } from "./dialogs.js";
import { closeMenus } from "./menus.js";

listenForKeys(document);
listenForDialogs(document);
closeMenus(document);
