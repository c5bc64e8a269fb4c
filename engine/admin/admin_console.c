/* The console page: console.html, turned into bytes when the build is configured, so that the
 * server is one file. */
#include "engine/admin/admin_internal.h"

static const uint8_t page[] = {
#include "engine/admin/console_html.inc"
};

struct bytes
admin__console(void)
{
    return (struct bytes){page, sizeof(page)};
}
