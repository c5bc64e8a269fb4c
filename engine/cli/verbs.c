/* The table of verbs and their options: help and parsing come from it alone. */
#include "engine/cli/native.h"

static const struct cli_option no_options[] = {{NULL, NULL, NULL}};

static const struct cli_option create_options[] = {
    {"partitions", "N", "number of partitions (default: the server's)"},
    {"durability", "device|memory", "what an acknowledgement means (default: device)"},
    {"config", "KEY=VALUE", "a topic setting; may be given several times"},
    {NULL, NULL, NULL},
};

static const struct cli_option alter_options[] = {
    {"config", "KEY=VALUE", "set a topic setting; may be given several times"},
    {"delete-config", "KEY", "back to the default; may be given several times"},
    {"partitions", "N", "more partitions, N in all"},
    {NULL, NULL, NULL},
};

static const struct cli_option trim_options[] = {
    {"partition", "N", "of this partition"},
    {"before", "OFFSET|end", "all records before this offset, or all that are there"},
    {NULL, NULL, NULL},
};

static const struct cli_option produce_options[] = {
    {"key-separator", "TEXT", "split each line into key and value at the first TEXT"},
    {"header", "NAME=VALUE", "add a header to every record; may be given several times"},
    {"partition", "N", "send everything to this partition"},
    {"codec", "none|gzip|snappy|lz4|zstd", "compress batches (default: none)"},
    {"acks", "0|1|all", "what to wait for (default: all)"},
    {"linger-ms", "N", "wait this long to fill batches (default: 5)"},
    {"partitioner", "NAME", "consistent_random, murmur2_random, ... (default: murmur2_random)"},
    {"idempotent", NULL, "no duplicates when a send is repeated"},
    {"file", "PATH", "read this file instead of standard input"},
    {"quiet", NULL, "no progress bar"},
    {"native", "HOST:PORT", "through the native door there, always without duplicates"},
    {"batch-bytes", "N", "longest native batch (default: 65536)"},
    CLI_NATIVE_OPTIONS,
    {NULL, NULL, NULL},
};

static const struct cli_option consume_options[] = {
    {"partition", "N", "only this partition (default: all)"},
    {"from", "beginning|end|OFFSET", "where to begin (default: beginning)"},
    {"from-time", "MS", "begin at the first record of this time or later (ms since 1970 UTC)"},
    {"count", "N", "stop after N records (default: at the end of what is there)"},
    {"follow", NULL, "do not stop at the end; wait for more"},
    {"key-separator", "TEXT", "print key, TEXT, value"},
    {"offsets", NULL, "print partition and offset before each record"},
    {"native", "HOST:PORT", "through the native door there"},
    CLI_NATIVE_OPTIONS,
    {NULL, NULL, NULL},
};

static const struct cli_option reset_options[] = {
    {"topic", "TOPIC", "all partitions of this topic (default: what the group has offsets of)"},
    {"to", "earliest|latest|OFFSET", "where the group is to go on"},
    {"to-time", "MS", "at the first record of this time or later (ms since 1970 UTC)"},
    {"shift", "N", "so many records further, or back with a minus"},
    {"dry-run", NULL, "show what would be done"},
    {NULL, NULL, NULL},
};

static const struct cli_option ping_options[] = {
    {"count", "N", "round trips of each kind (default: 1000)"},
    {"topic", "TOPIC", "send records to this one (default: two of its own, made at --server)"},
    {"transport", NULL, "no records, only the transport"},
    {"spin", NULL, "do not sleep while waiting"},
    CLI_NATIVE_OPTIONS,
    {NULL, NULL, NULL},
};

static const struct cli_option doctor_options[] = {
    {"data", "DIR", "measure the disk below this directory (default: the current one)"},
    {NULL, NULL, NULL},
};

const struct cli_verb cli_verbs[] = {
    {"topic create", "TOPIC", 1, 1, "Create a topic.", create_options, cli_topic_create},
    {"group list", "", 0, 0, "List consumer groups and their states.", no_options, cli_group_list},
    {"group describe",
     "GROUP",
     1,
     1,
     "Show members, committed offsets and lag in records and seconds.",
     no_options,
     cli_group_describe},
    {"group reset-offsets",
     "GROUP",
     1,
     1,
     "Make a group without members go on somewhere else.",
     reset_options,
     cli_group_reset_offsets},
    {"group delete",
     "GROUP",
     1,
     1,
     "Delete a group without members.",
     no_options,
     cli_group_delete},
    {"topic list", "", 0, 0, "List topics with their partitions.", no_options, cli_topic_list},
    {"topic describe",
     "TOPIC",
     1,
     1,
     "Show a topic's partitions, offsets and settings.",
     no_options,
     cli_topic_describe},
    {"topic delete",
     "TOPIC",
     1,
     1,
     "Delete a topic and its records.",
     no_options,
     cli_topic_delete},
    {"topic alter",
     "TOPIC",
     1,
     1,
     "Change a topic's settings or give it more partitions.",
     alter_options,
     cli_topic_alter},
    {"topic trim",
     "TOPIC",
     1,
     1,
     "Delete the oldest records of a partition.",
     trim_options,
     cli_topic_trim},
    {"produce",
     "TOPIC",
     1,
     1,
     "Send each line of standard input as a record.",
     produce_options,
     cli_produce},
    {"consume", "TOPIC", 1, 1, "Print records.", consume_options, cli_consume},
    {"ping",
     "HOST:PORT",
     1,
     1,
     "Measure round trips of the native door there, by ack level.",
     ping_options,
     cli_ping},
    {"doctor",
     "",
     0,
     0,
     "Tell what this host has and lacks, what it costs, and the command that mends it.",
     doctor_options,
     cli_doctor},
    {NULL, NULL, 0, 0, NULL, NULL, NULL},
};
