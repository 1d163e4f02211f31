// Perses's Tempo datasource, trace table and Gantt chart on a page of their own: Perses gives them this context on a dashboard.
// `?q=` is a TraceQL query or the id of a trace, as in a panel of Perses.
import { ThemeProvider } from "@mui/material";
import { ChartsProvider, SnackbarProvider, generateChartsTheme, getTheme } from "@perses-dev/components";
import { VariableProvider } from "@perses-dev/dashboards";
import { ReactRouterProvider, TimeRangeProvider } from "@perses-dev/plugin-system";
import { TempoDatasource, TempoTraceQuery } from "@perses-dev/tempo-plugin";
import { TraceTable } from "@perses-dev/trace-table-plugin";
import { TracingGanttChart } from "@perses-dev/tracing-gantt-chart-plugin";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router-dom";

const query = new URLSearchParams(location.search).get("q") ?? "{}";
const theme = getTheme("light");
const client = TempoDatasource.createClient({ directUrl: location.origin }, {});
const plugin = { kind: "TempoTraceQuery", spec: { query } };

const now = new Date();
const data = await TempoTraceQuery.getTraceData(plugin.spec, {
  absoluteTimeRange: { start: new Date(now - 3_600_000), end: now },
  variableState: {},
  datasourceStore: { getDatasourceClient: async () => client, listDatasourceSelectItems: async () => [] },
});
const panel = {
  contentDimensions: { width: 1200, height: 800 },
  spec: { links: { trace: "?q=${traceId}" } },
  queryResults: [{ definition: { kind: "TraceQuery", spec: { plugin } }, data }],
};
const { PanelComponent: Panel } = data.trace ? TracingGanttChart : TraceTable;

createRoot(document.getElementById("root")).render(
  <ThemeProvider theme={theme}>
    <ChartsProvider chartsTheme={generateChartsTheme(theme, {})}>
      <SnackbarProvider>
        <QueryClientProvider client={new QueryClient()}>
          <BrowserRouter>
            <ReactRouterProvider>
              <TimeRangeProvider timeRange={{ pastDuration: "1h" }}>
                <VariableProvider>
                  <div style={{ height: 800 }}>
                    <Panel {...panel} />
                  </div>
                </VariableProvider>
              </TimeRangeProvider>
            </ReactRouterProvider>
          </BrowserRouter>
        </QueryClientProvider>
      </SnackbarProvider>
    </ChartsProvider>
  </ThemeProvider>,
);
