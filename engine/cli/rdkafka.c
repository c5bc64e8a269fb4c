#include "engine/cli/cli.h"

#include <stdio.h>
#include <stdlib.h>

int
cli_fail_kafka(const struct cli_args *args,
               rd_kafka_resp_err_t error,
               const char *what,
               const char *text)
{
    enum cli_exit code = CLI_FAILED;

    switch (error) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
        return cli_fail(args,
                        CLI_UNREACHABLE,
                        "%s: no answer from %s (is `eagre serve` running there?)",
                        what,
                        args->server);
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND:
        code = CLI_NOT_FOUND;
        break;
    default:
        break;
    }
    return cli_fail(args, code, "%s: %s", what, text != NULL ? text : rd_kafka_err2str(error));
}

void
cli_conf_set(const struct cli_args *args, rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char text[256];

    if (rd_kafka_conf_set(conf, key, value, text, sizeof(text)) != RD_KAFKA_CONF_OK)
        exit(cli_fail(args, CLI_USAGE, "%s", text));
}

/* What librdkafka logs on its own (reconnects and the like) would repeat what the verb reports. */
static void
cli_no_log(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    (void)client;
    (void)level;
    (void)facility;
    (void)text;
}

rd_kafka_conf_t *
cli_conf(const struct cli_args *args)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    cli_conf_set(args, conf, "bootstrap.servers", args->server);
    cli_conf_set(args, conf, "client.id", "eagre-cli");
    rd_kafka_conf_set_log_cb(conf, cli_no_log);
    return conf;
}

rd_kafka_t *
cli_client(const struct cli_args *args, rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char text[256];
    rd_kafka_t *client = rd_kafka_new(type, conf, text, sizeof(text));

    if (client == NULL) {
        rd_kafka_conf_destroy(conf);
        cli_fail(args, CLI_FAILED, "%s", text);
    }
    return client;
}

rd_kafka_event_t *
cli_wait(const struct cli_args *args, rd_kafka_queue_t *queue, const char *what, int *ret_status)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CLI_TIMEOUT_MS + 2000);

    if (event == NULL) {
        *ret_status = cli_fail_kafka(args, RD_KAFKA_RESP_ERR__TIMED_OUT, what, NULL);
        return NULL;
    }
    rd_kafka_resp_err_t error = rd_kafka_event_error(event);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
        *ret_status = cli_fail_kafka(args, error, what, rd_kafka_event_error_string(event));
        rd_kafka_event_destroy(event);
        return NULL;
    }
    return event;
}

rd_kafka_AdminOptions_t *
cli_admin_options(rd_kafka_t *client, rd_kafka_admin_op_t operation)
{
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client, operation);
    char text[128];

    rd_kafka_AdminOptions_set_request_timeout(options, CLI_TIMEOUT_MS, text, sizeof(text));
    return options;
}

bool
cli_command_begin(struct cli_command *command, const struct cli_args *args)
{
    rd_kafka_t *client = cli_client(args, RD_KAFKA_CONSUMER, cli_conf(args));

    *command = (struct cli_command){.args = args, .client = client, .status = CLI_FAILED};
    if (client == NULL)
        return false;
    command->queue = rd_kafka_queue_new(client);
    command->status = CLI_OK;
    return true;
}

int
cli_command_end(struct cli_command *command)
{
    rd_kafka_queue_destroy(command->queue);
    rd_kafka_destroy(command->client);
    return command->status;
}

rd_kafka_event_t *
cli_command_wait(struct cli_command *command, const char *what)
{
    return cli_wait(command->args, command->queue, what, &command->status);
}
