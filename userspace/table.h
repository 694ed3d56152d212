/* SPDX-License-Identifier: GPL-2.0 */
/* The one print path: what a command reports is a JSON object, and a text table selects from it. */
#ifndef KVMGANG_TABLE_H
#define KVMGANG_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#define CELL_SIZE 512	/* bytes of one cell's text with the final 0 */

struct format {
	void (*fn)(const json_t *value, char *cell);
	bool left;		/* aligned to the left */
};

struct column {
	const char *title;
	const char *group;	/* of the row object: the member that has @key, or NULL */
	const char *key;
	const struct format *format;
};

#define NR_COLUMNS(columns) (sizeof(columns) / sizeof((columns)[0]))
#define ALL_ROWS ((size_t)-1)

extern const struct format as_text;
extern const struct format as_name;	/* text, cut at MAX_NAME characters */
extern const struct format as_count;
extern const struct format as_decimal;
extern const struct format as_time;	/* of ns, in three digits and a unit */

void print_table(const struct column *columns, size_t nr, const json_t *rows, size_t max_rows);
void print_fields(const struct column *columns, size_t nr, const json_t *object);
void print_json(const json_t *value);

void put(json_t *object, const char *key, json_t *value);
void append(json_t *array, json_t *value);

#endif /* KVMGANG_TABLE_H */
