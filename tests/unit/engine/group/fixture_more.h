/* What the two files of the fixture share. */
#ifndef EAGRE_TESTS_UNIT_ENGINE_GROUP_FIXTURE_MORE_H
#define EAGRE_TESTS_UNIT_ENGINE_GROUP_FIXTURE_MORE_H

#include "tests/unit/engine/group/fixture.h"

struct group_call
fixture_begin(struct fixture *fixture, int16_t api, int16_t version, const char *client);
uint64_t fixture_end(struct fixture *fixture, const struct group_call *call);
void fixture_keep_beat(struct fixture *fixture,
                       struct fixture_answer *answer,
                       const struct kafka_consumer_group_heartbeat_response *response);
void fixture_keep_described(struct fixture_answer *answer,
                            const struct kafka_consumer_group_describe_response *response);
void fixture_keep_listed(struct fixture_answer *answer,
                         const struct kafka_list_groups_response *response);
void fixture_keep_fetched(struct fixture_answer *answer,
                          const struct kafka_offset_fetch_response *response);
bool fixture_topic(void *ctx, struct bytes name, struct group_topic_info *ret);
bool fixture_next_topic(void *ctx, uint32_t *cursor, struct group_topic_info *ret);
uint64_t fixture_topics_version(void *ctx);

#endif
