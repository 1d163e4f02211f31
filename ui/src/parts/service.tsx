// A service's name with its colour.

import { serviceColor, useTheme } from "../frame/theme.ts";

export function Service({ name, errors = 0 }: { name: string; errors?: number }) {
  const current = useTheme();
  return (
    <span class="service">
      <i class="dot" style={{ background: serviceColor(name, current) }} />
      {name || "no service"}
      {errors > 0 && <b class="error-count" title={`${errors} failed`}>{errors}</b>}
    </span>
  );
}
