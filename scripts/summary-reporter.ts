/**
 * A vitest reporter that ends the output with one line for machines:
 * `tests: N passed, N failed, N skipped`. A test file that cannot be loaded and an error outside of
 * every test count as one failure each.
 */
import type { Reporter, TestModule } from "vitest/node";

export class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const count = { passed: 0, failed: errors.length, skipped: 0 };
    for (const module of modules) {
      let failedTests = 0;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === "passed") count.passed++;
        else if (state === "failed") failedTests++;
        else count.skipped++;
      }
      count.failed += Math.max(failedTests, module.state() === "failed" ? 1 : 0);
    }
    process.stdout.write(
      `tests: ${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`,
    );
  }
}
