// A Kafka client (kafkajs). Its first argument is an operation, the second one
// (JSON) the details.
'use strict'

const readline = require('node:readline')
const lz4 = require('lz4js')
const xxh32 = require('lz4js/xxh32')
const snappy = require('snappyjs')
const { ZstdCodec } = require('zstd-codec')
const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = require('kafkajs')

const say = value => process.stdout.write(JSON.stringify(value) + '\n')

// kafkajs brings gzip; for the others it wants a codec.
const xerial = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])

function unsnappy(buffer) {
  if (!buffer.subarray(0, xerial.length).equals(xerial)) return snappy.uncompress(buffer)
  const blocks = []
  for (let at = 16; at < buffer.length;) {
    const size = buffer.readInt32BE(at)
    blocks.push(snappy.uncompress(buffer.subarray(at + 4, at + 4 + size)))
    at += 4 + size
  }
  return Buffer.concat(blocks)
}

CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: async encoder => Buffer.from(snappy.compress(encoder.buffer)),
  decompress: async buffer => unsnappy(buffer)
})
// lz4js does not set the flag that the blocks of a frame are independent, as the only one
// of these batches is. Kafka refuses frames without it, and so do Java's consumers.
function independent (frame) {
  frame[4] |= 0x20
  frame[6] = xxh32.hash(0, frame, 4, 2) >> 8
  return frame
}
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => independent(Buffer.from(lz4.compress(encoder.buffer))),
  decompress: async buffer => Buffer.from(lz4.decompress(buffer))
})
const zstd = new Promise(resolve => ZstdCodec.run(codec => resolve(new codec.Simple())))
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async buffer => Buffer.from((await zstd).decompress(buffer))
})
const codecs = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD
}

const newKafka = spec => new Kafka({ brokers: [spec.bootstrap], clientId: spec.client, logLevel: logLevel.WARN })

async function produce(kafka, spec) {
  const messages = []
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const record = JSON.parse(line)
    messages.push({ ...record, timestamp: String(record.timestamp) })
  }
  const producer = kafka.producer({ idempotent: spec.idempotent })
  await producer.connect()
  // The answer has the first offset of each partition's batch.
  const next = new Map()
  for (let from = 0; from < messages.length; from += 500) {
    const part = messages.slice(from, from + 500)
    const sent = await producer.send({ topic: spec.topic, acks: -1, compression: codecs[spec.compression], messages: part })
    sent.forEach(({ partition, baseOffset }) => next.set(partition, Number(baseOffset)))
    for (const { partition } of part) {
      say({ event: 'sent', partition, offset: next.get(partition) })
      next.set(partition, next.get(partition) + 1)
    }
  }
  await producer.disconnect()
}

const tell = (partition, message) => say({
  event: 'record', partition, offset: Number(message.offset), key: String(message.key), value: String(message.value),
  timestamp: Number(message.timestamp),
  headers: Object.fromEntries(Object.entries(message.headers).map(([key, value]) => [key, String(value)]))
})

// kafkajs reads in groups only; this one has a single member.
async function consume(kafka, spec) {
  const consumer = kafka.consumer({ groupId: `${spec.topic}-${process.pid}`, maxWaitTimeInMs: 500 })
  await consumer.connect()
  await consumer.subscribe({ topics: [spec.topic], fromBeginning: true })
  let start = new Map()
  if (spec.since >= 0) {
    const admin = kafka.admin()
    await admin.connect()
    const found = await admin.fetchTopicOffsetsByTimestamp(spec.topic, spec.since)
    start = new Map(found.map(({ partition, offset }) => [partition, Number(offset)]))
    await admin.disconnect()
  }
  let left = spec.count
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
    consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        if (Number(message.offset) < (start.get(partition) ?? 0)) return // fetched before the seek
        if (left-- > 0) tell(partition, message)
        if (left <= 0) resolve()
      }
    }).catch(reject)
    for (const [partition, offset] of start) consumer.seek({ topic: spec.topic, partition, offset: String(offset) })
  })
  await consumer.disconnect()
}

async function member(kafka, spec) {
  const consumer = kafka.consumer({
    groupId: spec.group, sessionTimeout: spec.session, heartbeatInterval: 500, maxWaitTimeInMs: 500, rebalanceTimeout: 10000
  })
  const ended = new Promise((resolve, reject) => {
    process.stdin.resume().on('end', resolve)
    consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || reject(payload.error))
  })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) =>
    say({ event: 'assigned', partitions: payload.memberAssignment[spec.topic] ?? [] }))
  consumer.on(consumer.events.REBALANCING, () => say({ event: 'revoked' }))
  await consumer.connect()
  await consumer.subscribe({ topics: [spec.topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, heartbeat }) => {
      batch.messages.forEach(message => tell(batch.partition, message))
      const offset = String(Number(batch.lastOffset()) + 1)
      await consumer.commitOffsets([{ topic: batch.topic, partition: batch.partition, offset }])
      say({ event: 'committed' })
      await heartbeat()
    }
  })
  await ended
  await consumer.disconnect()
}

async function administer(kafka, spec) {
  const admin = kafka.admin()
  await admin.connect()
  for (const op of spec.ops) {
    try {
      say(await operations[op.op](admin, op) ?? {})
    } catch (error) {
      const parts = [...(error.errors ?? []), ...(error.groups ?? []), ...((error.cause ?? error).partitions ?? [])]
      say({ error: [error, ...parts.map(each => each.error ?? each)].map(String).join('; ') })
    }
  }
  await admin.disconnect()
}

const resource = op => ({ type: ConfigResourceTypes.TOPIC, name: op.topic })

const operations = {
  'create-topic': (admin, op) => admin.createTopics({
    topics: [{ topic: op.topic, numPartitions: op.partitions, configEntries: [{ name: op.name, value: op.value }] }]
  }).then(made => { if (!made) throw new Error('the topic already exists') }),
  'describe-topic': (admin, op) => admin.fetchTopicMetadata({ topics: [op.topic] })
    .then(found => ({ partitions: found.topics[0].partitions.length })),
  'list-topics': admin => admin.listTopics().then(names => ({ names })),
  'delete-topic': (admin, op) => admin.deleteTopics({ topics: [op.topic] }),
  'alter-config': (admin, op) => admin.alterConfigs({
    validateOnly: false, resources: [{ ...resource(op), configEntries: [{ name: op.name, value: op.value }] }]
  }).then(() => ({})),
  'describe-config': (admin, op) => admin.describeConfigs({
    includeSynonyms: false, resources: [{ ...resource(op), configNames: [op.name] }]
  }).then(found => ({ value: found.resources[0].configEntries[0].configValue })),
  'create-partitions': (admin, op) => admin.createPartitions({ topicPartitions: [{ topic: op.topic, count: op.partitions }] })
    .then(() => ({})),
  'list-offsets': async (admin, op) => {
    if (op.at === 'earliest' || op.at === 'latest') {
      const found = (await admin.fetchTopicOffsets(op.topic)).find(each => each.partition === op.partition)
      return { offset: Number(op.at === 'earliest' ? found.low : found.high) }
    }
    const found = await admin.fetchTopicOffsetsByTimestamp(op.topic, Number(op.at))
    return { offset: Number(found.find(each => each.partition === op.partition).offset) }
  },
  'delete-records': async (admin, op) => {
    await admin.fetchTopicOffsets(op.topic) // it looks for the leader in the metadata it has, and does not ask
    await admin.deleteTopicRecords({ topic: op.topic, partitions: [{ partition: op.partition, offset: String(op.offset) }] })
    return { offset: op.offset } // the library does not tell the answer
  },
  'list-groups': admin => admin.listGroups().then(({ groups }) => ({ names: groups.map(group => group.groupId) })),
  'describe-group': async (admin, op) => {
    const { groups: [group] } = await admin.describeGroups([op.group])
    const { AssignerProtocol: { MemberAssignment } } = require('kafkajs')
    return {
      state: group.state,
      members: Object.fromEntries(group.members.map(({ clientId, memberAssignment }) =>
        [clientId, Object.values(MemberAssignment.decode(memberAssignment).assignment).flat().length]))
    }
  },
  'group-offsets': async (admin, op) => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: op.group, topics: [op.topic] })
    return { offsets: Object.fromEntries(partitions.map(({ partition, offset }) => [partition, Number(offset)])) }
  },
  'set-group-offset': (admin, op) => admin.setOffsets({
    groupId: op.group, topic: op.topic, partitions: [{ partition: op.partition, offset: String(op.offset) }]
  }).then(() => ({})),
  'delete-group': (admin, op) => admin.deleteGroups([op.group]).then(() => ({}))
}

const spec = JSON.parse(process.argv[3])
const run = { produce, consume, member, admin: administer }[process.argv[2]]
run(newKafka(spec), spec).then(() => process.stdout.write('', () => process.exit(0)), error => { // once all is written
  console.error(error)
  process.exit(1)
})
