/* Settings of the broker that change at run time: their layers, and the steps of an operation that
 * changes them. Shared inside engine/control; see broker_settings.c. All of it: Runs on: control.
 * Allocates: nothing.  Blocks: never. */
#ifndef EAGRE_ENGINE_CONTROL_BROKER_SETTINGS_H
#define EAGRE_ENGINE_CONTROL_BROKER_SETTINGS_H

#include "engine/control/control_operation.h"

/* Notes what the server was started with. */
void control__broker_begin(struct control *control);
/* What was set at run time: for this broker, or for all. */
const struct broker_config *control__broker_layer(const struct control *control, bool own);
/* The value that counts under these layers. */
int64_t control__broker_number(const struct control *control,
                               const struct broker_config *brokers,
                               const struct broker_config *own,
                               enum broker_config_number number);
/* Where a topic's effective value comes from. */
enum topic_config_source control__config_source(const struct control *control,
                                                const struct topic_config *topic,
                                                enum topic_config_key key);
/* Makes all layers count. */
void control__broker_count(struct control *control);
/* Steps of OPERATION_BROKER: stored; partitions have the settings, false: not yet; gates know. */
void control__broker_appended(struct control *control, struct control_operation *operation);
bool control__broker_configured(struct control *control, struct control_operation *operation);
bool control__broker_published(struct control *control, struct control_operation *operation);
/* The broker's id in decimal, as clients name it. call_configs.c. */
bool control__names_this_broker(const struct control *control, struct bytes name);

#endif
