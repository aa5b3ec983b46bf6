// Verifies the requests on its standard input, one JSON object a line, and says
// for each whether its signature fits.
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

for await (const line of createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  try {
    new Webhook(secret).verify(body, headers);
    console.log("good");
  } catch (error) {
    console.log(`bad: ${error.message}`);
  }
}
