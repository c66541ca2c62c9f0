import assert from "node:assert/strict";
import { test } from "node:test";
import { renderToString } from "preact-render-to-string";
import { DataTable } from "../src/chart.tsx";

test("a table stands whole up to sixty rows, beyond it scrolls and says how many it has", () => {
  const shown = (rows: number) =>
    renderToString(
      <DataTable label="Rows" columns={["Row"]} rows={Array.from({ length: rows }, (_, i) => [i])} />,
    );
  assert.doesNotMatch(shown(60), /class="scroll long"|60 rows/);
  assert.match(shown(61), /class="scroll long".*<\/section>.*>61 rows: scroll/);
});
