/* Any bytes as a settings file: taken or refused with a message, never worse; what was taken can be
 * written back and taken again. */
#include "engine/base/check.h"
#include "engine/config/config.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct settings settings;
    struct diag_trail trail = {0};
    char value[CONFIG_TEXT_MAX + 16];

    config_defaults(&settings);
    if (config_yaml(&settings, "fuzz", data, size, &trail) != RC_OK) {
        CHECK(trail.text[0] != '\0');
        CHECK(strnlen(trail.text, sizeof(trail.text)) < sizeof(trail.text));
        return 0;
    }
    for (uint32_t i = 0; i < config_count(); i++) {
        struct settings copy = settings;
        config_value(&settings, config_at(i), value, sizeof(value));
        CHECK(config_set(&copy, config_at(i), value, strlen(value), NULL) == RC_OK);
        CHECK(memcmp(&copy, &settings, sizeof(copy)) == 0);
    }
    return 0;
}
