"""The same as main.go, with the package nats-py.

    python consumer.py "$(postern nats credentials --name example-py)"
"""

import asyncio
import json
import sys

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy


async def main(url: str) -> None:
    nc = await nats.connect(url, max_reconnect_attempts=-1)
    js = nc.jetstream()
    subscription = await js.pull_subscribe(
        "postern.events.*.message.created",
        durable="example-py",
        stream="POSTERN_EVENTS",
        config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.EXPLICIT),
    )
    while True:
        try:
            messages = await subscription.fetch(10, timeout=30)
        except nats.errors.TimeoutError:
            continue
        for msg in messages:
            event = json.loads(msg.data)
            print(event["id"], event["data"]["message"])
            await msg.ack()  # an event that is not acknowledged comes again


asyncio.run(main(sys.argv[1]))
