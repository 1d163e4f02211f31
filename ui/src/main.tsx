// Entry of the page: theme, links, and the frame that shows the page which the address names.

import "uplot/dist/uPlot.min.css";
import "./style/base.css";
import "./style/frame.css";
import "./style/query.css";
import "./style/search.css";
import "./style/trace.css";
import "./style/explore.css";
import "./style/services.css";
import "./style/store.css";
import "./style/narrow.css";
import { render } from "preact";
import { Frame } from "./frame/frame.tsx";
import { applyTheme } from "./frame/theme.ts";
import { followLinks } from "./place.ts";

applyTheme();
followLinks();
render(<Frame />, document.getElementById("page")!);
