// The same as main.go, with the packages @nats-io/transport-node and
// @nats-io/jetstream. Give the parts of the URL that
// `postern nats credentials --name example-ts` prints in the environment:
//
//   NATS_SERVER=127.0.0.1:4222 NATS_USER=example-ts NATS_PASSWORD=… npx tsx consumer.ts
import { connect } from "@nats-io/transport-node";
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";

const nc = await connect({
  servers: process.env.NATS_SERVER,
  user: process.env.NATS_USER,
  pass: process.env.NATS_PASSWORD,
  maxReconnectAttempts: -1,
});
const manager = await jetstreamManager(nc);
await manager.consumers.add("POSTERN_EVENTS", {
  durable_name: "example-ts",
  filter_subject: "postern.events.*.message.created",
  deliver_policy: DeliverPolicy.All,
  ack_policy: AckPolicy.Explicit,
});
const consumer = await jetstream(nc).consumers.get("POSTERN_EVENTS", "example-ts");
for await (const msg of await consumer.consume()) {
  const event = msg.json<{ id: string; data: { message: string } }>();
  console.log(event.id, event.data.message);
  msg.ack(); // an event that is not acknowledged comes again, under the same id
}
