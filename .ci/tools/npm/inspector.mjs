// Uses the Inspector's web UI as a person does, in one Chromium with a page for each server: connects, opens the tools, picks one, fills in its
// message, runs it and reads the result. Prints one JSON line: for each server the revision, tools and result that the page shows.
//
//   node inspector.mjs '{"chromium": PATH, "url": URL with token, "servers": [{"name", "tool", "message", "shows"}]}'
import { chromium } from 'playwright-core';

const ask = JSON.parse(process.argv[2]);
const limit = 20000;

async function visit(context, { name, tool, message, shows }) {
  const page = await context.newPage();
  page.setDefaultTimeout(limit);
  const seen = { name };
  try {
    await page.goto(ask.url);
    await page.getByRole('switch', { name: `Connect or disconnect "${name}"` }).click({ force: true });
    seen.revision = (await page.getByText(/^MCP 20\d\d-/).first().innerText()).slice('MCP '.length);
    await page.getByText('Tools', { exact: true }).first().click();
    const items = page.locator('button[data-variant=listItem]');
    await items.first().waitFor();
    seen.tools = (await items.allInnerTexts()).map(text => text.trim().split('\n').pop());
    seen.heading = await page.getByText(/^Tools \(\d+\)$/).innerText();
    await page.getByPlaceholder('Search tools...').fill(tool);
    await items.filter({ has: page.getByText(tool, { exact: true }) }).click();
    if (message) await page.getByLabel(/^message/).first().fill(message);
    await page.getByRole('button', { name: /^(Execute|Run|Call)/ }).click();
    seen.result = await page.getByText(shows, { exact: true }).first().innerText();
    await page.getByRole('button', { name: 'Disconnect from server' }).click();
    await page.getByRole('button', { name: 'Disconnect from server' }).waitFor({ state: 'detached' });
  } catch (error) {
    seen.error = `${error.message}\n${await page.locator('body').innerText().catch(() => '')}`;
  }
  await page.close();
  return seen;
}

const browser = await chromium.launch({
  executablePath: ask.chromium,
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.*'],
});
const context = await browser.newContext();
const seen = [];
for (const server of ask.servers) seen.push(await visit(context, server));
await browser.close();
console.log(JSON.stringify(seen));
