// kafkajs against one server: what it writes it reads, groups share and resume through deaths, transactions, and every call of its admin.
'use strict';

const readline = require('readline');
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs');

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');

const SECONDS = 60;
const [address, offeredText] = process.argv.slice(2);
const offered = new Set(JSON.parse(offeredText));
const kafka = new Kafka({
    clientId: 'kafkajs-tests',
    brokers: [address],
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 100, retries: 30, maxRetryTime: 2000 },
});
const admin = kafka.admin();
const lines = readline.createInterface({ input: process.stdin });

function check(condition, text) {
    if (!condition)
        throw new Error(text);
}

function same(found, wanted, text) {
    const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
    check(a === b, `${text}: ${a.slice(0, 600)}, not ${b.slice(0, 600)}`);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition, text) {
    const end = Date.now() + SECONDS * 1000;
    while (!condition()) {
        check(Date.now() < end, typeof text === 'function' ? text() : text);
        await sleep(50);
    }
}

const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

async function create(topic, numPartitions) {
    same(await admin.createTopics({ topics: [{ topic, numPartitions }] }), true, 'createTopics');
}

/* Everything of a topic from its beginning, by a group of its own: [partition, offset, key, value, headers]. */
async function readAll(topic, count, settings = {}) {
    const found = [];
    const consumer = kafka.consumer({ groupId: `all-${topic}-${found.length}-${Math.random()}`, ...settings });
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await consumer.run({
        eachMessage: async ({ partition, message }) => {
            const headers = Object.entries(message.headers).map(([key, value]) => [key, value.toString()]);
            found.push([partition, Number(message.offset), message.key && message.key.toString(), message.value.toString(), headers]);
        },
    });
    await until(() => found.length >= count, () => `${found.length} of ${count} records of ${topic}`);
    await sleep(300); // more than these would be wrong
    await consumer.disconnect();
    return found.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
}

async function write(topic, from, to, partitions, settings = {}, extra = {}) {
    const producer = kafka.producer(settings);
    await producer.connect();
    for (let at = from; at < to; at += 500) {
        const numbers = range(at, Math.min(at + 500, to));
        await producer.send({
            topic,
            acks: -1,
            messages: numbers.map((n) => ({ key: `k${n}`, value: `${n}`, partition: n % partitions, headers: { n: `${n}` } })),
            ...extra,
        });
    }
    await producer.disconnect();
}

async function codecs(name, compression) {
    const topic = `js-${name}`;
    await create(topic, 2);
    await write(topic, 0, 2000, 2, { idempotent: name === 'none' }, { compression });
    const found = await readAll(topic, 2000);
    same(found, range(0, 2).flatMap((p) => range(0, 1000).map((o) => [p, o, `k${2 * o + p}`, `${2 * o + p}`, [['n', `${2 * o + p}`]]])), 'records');
}

async function keys() { // the partition of a key is the one that Java's clients choose
    await create('js-keys', 3);
    const producer = kafka.producer();
    await producer.connect();
    await producer.send({ topic: 'js-keys', messages: range(0, 30).map((i) => ({ key: `k${i}`, value: `${i}` })) });
    await producer.disconnect();
    const offsets = await admin.fetchTopicOffsets('js-keys');
    same(offsets.sort((a, b) => a.partition - b.partition).map((o) => [o.partition, o.low, o.high]), [[0, '0', '8'], [1, '0', '12'], [2, '0', '10']],
         'fetchTopicOffsets');
}

/* ---- groups */

class Member {
    constructor(group, topic) {
        this.found = [];
        this.assigned = [];
        this.consumer = kafka.consumer({ groupId: group, sessionTimeout: 10000, heartbeatInterval: 300, rebalanceTimeout: 8000,
            retry: { initialRetryTime: 100, retries: 30, maxRetryTime: 1000 } });
        this.consumer.on('consumer.group_join', (event) => { this.assigned = event.payload.memberAssignment[topic] || []; });
        this.topic = topic;
    }

    async start() {
        await this.consumer.connect();
        await this.consumer.subscribe({ topics: [this.topic], fromBeginning: true });
        await this.consumer.run({
            autoCommit: false,
            eachMessage: async ({ topic, partition, message }) => {
                this.found.push(Number(message.value.toString()));
                await this.consumer.commitOffsets([{ topic, partition, offset: `${Number(message.offset) + 1}` }]);
            },
        });
        return this;
    }
}

const everything = (members) => members.flatMap((member) => member.found);
const shares = (members) => members.flatMap((member) => member.assigned).sort();

function counted(numbers, total, repeated) {
    same([...new Set(numbers)].sort((a, b) => a - b), range(0, total), 'different records');
    check(numbers.length - total <= repeated, `${numbers.length - total} records were read again`);
}

async function comeAndGo() {
    const topic = 'js-share';
    await create(topic, 4);
    const members = [];
    for (const count of [1, 2]) {
        members.push(await new Member('js-share', topic).start());
        await until(() => shares(members).join() === '0,1,2,3' && members.every((m) => m.assigned.length === 4 / count),
                    () => `${count} members: ${members.map((m) => m.assigned)}`);
    }
    await write(topic, 0, 800, 4);
    await until(() => everything(members).length >= 800, () => `${everything(members).length} of 800`);
    await members[0].consumer.disconnect();
    members[0].assigned = [];
    await until(() => members[1].assigned.length === 4, () => `after one left: ${members[1].assigned}`);
    await write(topic, 800, 1200, 4);
    await until(() => everything(members).length >= 1200, () => `${everything(members).length} of 1200`);
    await members[1].consumer.disconnect();
    counted(everything(members), 1200, 0);
    const late = await new Member('js-share', topic).start();
    await until(() => late.assigned.length === 4, 'the late one gets nothing');
    await sleep(500);
    same(late.found, [], 'read after the end');
    const described = (await admin.describeGroups(['js-share'])).groups[0];
    same([described.state, described.protocolType, described.members.length, described.members[0].clientId],
         ['Stable', 'consumer', 1, 'kafkajs-tests'], 'describeGroups');
    await late.consumer.disconnect();
}

async function serverDies() {
    const topic = 'js-killed';
    await create(topic, 4);
    const member = await new Member('js-killed', topic).start();
    await write(topic, 0, 1000, 4);
    await until(() => member.found.length > 200, 'no progress');
    const back = new Promise((resolve) => lines.once('line', resolve));
    console.log(JSON.stringify({ ask: 'kill' }));
    await back;
    await write(topic, 1000, 2000, 4, { retry: { retries: 30 } });
    await until(() => new Set(member.found).size >= 2000, () => `${new Set(member.found).size} of 2000`);
    await member.consumer.disconnect();
    counted(member.found, 2000, 8); // one per partition and lost answer: kafkajs starts its consumer anew after errors
}

/* ---- transactions */

async function transactions() {
    if (!offered.has(24))
        return 'the server does not offer transactions';
    await create('js-txn', 2);
    await create('js-txn-in', 1);
    await write('js-txn-in', 0, 10, 1);
    const producer = kafka.producer({ transactionalId: 'js-txn', maxInFlightRequests: 1, idempotent: true });
    await producer.connect();
    for (const i of range(0, 9)) {
        const transaction = await producer.transaction();
        await transaction.send({ topic: 'js-txn', messages: range(i * 50, i * 50 + 50).map((n) => ({ key: `k${n}`, value: `${n}`, partition: n % 2 })) });
        if (i === 3)
            await transaction.sendOffsets({ consumerGroupId: 'js-txn', topics: [{ topic: 'js-txn-in', partitions: [{ partition: 0, offset: '7' }] }] });
        if (i === 4)
            await transaction.sendOffsets({ consumerGroupId: 'js-txn', topics: [{ topic: 'js-txn-in', partitions: [{ partition: 0, offset: '9' }] }] });
        if (i % 3 === 1)
            await transaction.abort();
        else
            await transaction.commit();
    }
    await producer.disconnect();
    const committed = range(0, 450).filter((n) => Math.floor(n / 50) % 3 !== 1);
    const values = (await readAll('js-txn', committed.length)).map((record) => Number(record[3])).sort((a, b) => a - b);
    same(values, committed, 'read_committed');
    const all = (await readAll('js-txn', 450, { readUncommitted: true })).map((record) => Number(record[3])).sort((a, b) => a - b);
    same(all, range(0, 450), 'read_uncommitted');
    same((await admin.fetchOffsets({ groupId: 'js-txn', topics: ['js-txn-in'] }))[0].partitions[0].offset, '7', 'the place that was committed');
    return null;
}

/* ---- admin */

async function adminTopics() {
    await create('js-admin', 2);
    same(await admin.createTopics({ topics: [{ topic: 'js-admin', numPartitions: 2 }] }), false, 'a second create');
    check((await admin.listTopics()).includes('js-admin'), 'listTopics');
    await admin.createPartitions({ topicPartitions: [{ topic: 'js-admin', count: 4 }] });
    const { topics } = await admin.fetchTopicMetadata({ topics: ['js-admin'] });
    same(topics[0].partitions.map((p) => [p.partitionId, p.leader, p.replicas, p.isr, p.partitionErrorCode]).sort(),
         range(0, 4).map((p) => [p, 1, [1], [1], 0]), 'fetchTopicMetadata');
    const cluster = await admin.describeCluster();
    same([cluster.brokers.map((b) => `${b.nodeId} ${b.host}:${b.port}`), cluster.controller], [[`1 ${address}`], 1], 'describeCluster');
    await write('js-admin', 0, 400, 4);
    const later = await admin.fetchTopicOffsetsByTimestamp('js-admin', Date.now() + 3600000);
    same(later.map((o) => o.offset), ['100', '100', '100', '100'], 'offsets of a time that has not come are the ends');
    const early = await admin.fetchTopicOffsetsByTimestamp('js-admin', 1000);
    same(early.map((o) => o.offset), ['0', '0', '0', '0'], 'offsets of an early time');
    await admin.deleteTopicRecords({ topic: 'js-admin', partitions: [{ partition: 0, offset: '30' }, { partition: 1, offset: '-1' }] });
    const lows = (await admin.fetchTopicOffsets('js-admin')).sort((a, b) => a.partition - b.partition).map((o) => o.low);
    same(lows, ['30', '100', '0', '0'], 'deleteTopicRecords');
    await admin.deleteTopics({ topics: ['js-admin'] });
    check(!(await admin.listTopics()).includes('js-admin'), 'still listed after delete');
    let error = null;
    const impatient = kafka.admin({ retry: { retries: 0 } }); // kafkajs would ask again for as long as it may
    await impatient.connect();
    await impatient.deleteTopics({ topics: ['js-no-such-topic'] }).catch((e) => { error = e; });
    await impatient.disconnect();
    check(`${error}`.includes('does not host this topic-partition'), `delete of nothing: ${error}`);
}

async function adminConfigs() {
    await create('js-configs', 1);
    const resources = [{ type: 2, name: 'js-configs', configEntries: [{ name: 'retention.ms', value: '7200000' }] }];
    await admin.alterConfigs({ validateOnly: false, resources });
    const { resources: [found] } = await admin.describeConfigs({ includeSynonyms: true, resources: [{ type: 2, name: 'js-configs' }] });
    const entry = found.configEntries.find((e) => e.configName === 'retention.ms');
    same([entry.configValue, entry.configSource, entry.configSynonyms.map((s) => s.configValue)], ['7200000', 1, ['7200000', '604800000']], 'retention.ms');
    let error = null;
    await admin.alterConfigs({ validateOnly: false,
        resources: [{ type: 2, name: 'js-configs', configEntries: [{ name: 'no.such.key', value: '1' }] }] }).catch((e) => { error = e; });
    check(error && error.type === 'INVALID_CONFIG', `an unknown key: ${error}`);
}

async function adminGroups() {
    const places = async (groupId) => (await admin.fetchOffsets({ groupId, topics: ['js-share'] }))[0].partitions
        .sort((a, b) => a.partition - b.partition).map((p) => p.offset);
    check((await admin.listGroups()).groups.some((g) => g.groupId === 'js-share' && g.protocolType === 'consumer'), 'listGroups');
    same(await places('js-share'), ['300', '300', '300', '300'], 'fetchOffsets');
    await admin.setOffsets({ groupId: 'js-share', topic: 'js-share', partitions: [{ partition: 1, offset: '77' }] });
    same(await places('js-share'), ['300', '77', '300', '300'], 'setOffsets');
    await admin.resetOffsets({ groupId: 'js-share', topic: 'js-share', earliest: true });
    same(await places('js-share'), ['-2', '-2', '-2', '-2'], 'resetOffsets'); // its own word for the earliest
    same((await admin.deleteGroups(['js-share']))[0].errorCode || 0, 0, 'deleteGroups');
    check(!(await admin.listGroups()).groups.some((g) => g.groupId === 'js-share'), 'still listed');
    let error = null;
    await admin.deleteGroups(['js-no-such-group']).catch((e) => { error = e; });
    check(error && error.groups && error.groups[0].errorCode === 69, `delete of nothing: ${error}`);
}

const tests = [
    ['plain, idempotent', () => codecs('none', CompressionTypes.None)],
    ['gzip', () => codecs('gzip', CompressionTypes.GZIP)],
    ['snappy', () => codecs('snappy', CompressionTypes.Snappy)],
    ['partitions of keys', keys],
    ['members come and go', comeAndGo],
    ['the server dies', serverDies],
    ['transactions commit and abort', transactions],
    ['admin: topics', adminTopics],
    ['admin: configs', adminConfigs],
    ['admin: groups', adminGroups],
];

async function main() {
    await admin.connect();
    for (const [name, test] of tests) {
        try {
            const skip = await test();
            console.log(JSON.stringify(skip ? { name, skip } : { name, ok: true }));
        } catch (error) {
            console.log(JSON.stringify({ name, error: `${error.message}` }));
        }
    }
    await admin.disconnect();
    process.exit(0);
}

main();
