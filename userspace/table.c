// SPDX-License-Identifier: GPL-2.0
/*
 * Text and JSON come from the same objects, so they cannot disagree: --json prints the object, and
 * text prints columns of it. It knows nothing of VMs; no colour, no paging, no wrapping.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "table.h"

#define MAX_NAME 20	/* --json has the whole */

/* Constructors of jansson fail by NULL, which its setters refuse: no memory shows here. */
void put(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value))
		errx(STATUS_FAILED, "no memory for the report");
}

void append(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value))
		errx(STATUS_FAILED, "no memory for the report");
}

/* The bytes of the first @max characters of @text, which is valid UTF-8. */
static size_t first_characters(const char *text, size_t max)
{
	size_t i;

	for (i = 0; text[i]; i++) {
		if ((text[i] & 0xc0) != 0x80 && !max--)
			break;
	}
	return i;
}

static size_t width(const char *text)
{
	size_t characters = 0;

	for (; *text; text++)
		characters += (*text & 0xc0) != 0x80;
	return characters;
}

static void format_text(const json_t *value, char *cell)
{
	snprintf(cell, CELL_SIZE, "%s", json_string_value(value));
}

static void format_name(const json_t *value, char *cell)
{
	const char *text = json_string_value(value);
	bool cut = width(text) > MAX_NAME;

	snprintf(cell, CELL_SIZE, "%.*s%s", (int)first_characters(text, MAX_NAME - cut), text,
		 cut ? "~" : "");
}

static void format_count(const json_t *value, char *cell)
{
	snprintf(cell, CELL_SIZE, "%lld", (long long)json_integer_value(value));
}

static void format_decimal(const json_t *value, char *cell)
{
	snprintf(cell, CELL_SIZE, "%.1f", json_number_value(value));
}

/* Three digits in the largest unit that leaves something before the point. */
static void format_time(const json_t *value, char *cell)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = {
		{ "d", 86400e9 }, { "h", 3600e9 }, { "m", 60e9 }, { "s", 1e9 },
		{ "ms", 1e6 }, { "us", 1e3 }, { "ns", 1 },
	};
	double time = json_number_value(value);
	size_t i = 0;
	int digits;

	if (time <= 0) {
		snprintf(cell, CELL_SIZE, "0");
		return;
	}
	while (i < NR_COLUMNS(units) - 1 && time < units[i].ns)
		i++;
	time /= units[i].ns;
	digits = time < 10 ? 2 : time < 100 ? 1 : 0;
	snprintf(cell, CELL_SIZE, "%.*f%s", units[i].ns > 1 ? digits : 0, time, units[i].name);
}

const struct format as_text = { format_text, true };
const struct format as_name = { format_name, true };
const struct format as_count = { format_count, false };
const struct format as_decimal = { format_decimal, false };
const struct format as_time = { format_time, false };

static void format_cell(const struct column *column, const json_t *row, char *cell)
{
	const json_t *object = column->group ? json_object_get(row, column->group) : row;
	const json_t *value = json_object_get(object, column->key);

	if (!value || json_is_null(value))
		snprintf(cell, CELL_SIZE, "-");
	else
		column->format->fn(value, cell);
}

static void print_padded(const char *text, size_t to_width, bool left, bool last)
{
	int pad = (int)(to_width - width(text));

	if (left)
		printf("%s%*s", text, last ? 0 : pad, "");
	else
		printf("%*s%s", pad, "", text);
	putchar(last ? '\n' : ' ');
}

static size_t column_width(const struct column *column, const json_t *rows, size_t nr_rows)
{
	size_t widest = width(column->title);

	for (size_t i = 0; i < nr_rows; i++) {
		char cell[CELL_SIZE];

		format_cell(column, json_array_get(rows, i), cell);
		if (width(cell) > widest)
			widest = width(cell);
	}
	return widest;
}

void print_table(const struct column *columns, size_t nr, const json_t *rows, size_t max_rows)
{
	size_t nr_rows = json_array_size(rows);
	size_t widths[nr];

	if (nr_rows > max_rows)
		nr_rows = max_rows;
	for (size_t i = 0; i < nr; i++) {
		widths[i] = column_width(&columns[i], rows, nr_rows);
		print_padded(columns[i].title, widths[i], columns[i].format->left, i == nr - 1);
	}
	for (size_t row = 0; row < nr_rows; row++) {
		for (size_t i = 0; i < nr; i++) {
			char cell[CELL_SIZE];

			format_cell(&columns[i], json_array_get(rows, row), cell);
			print_padded(cell, widths[i], columns[i].format->left, i == nr - 1);
		}
	}
}

/* One object, a line for each column. */
void print_fields(const struct column *columns, size_t nr, const json_t *object)
{
	size_t widest = 0;

	for (size_t i = 0; i < nr; i++) {
		if (width(columns[i].title) > widest)
			widest = width(columns[i].title);
	}
	for (size_t i = 0; i < nr; i++) {
		char cell[CELL_SIZE];

		format_cell(&columns[i], object, cell);
		print_padded(columns[i].title, widest, true, false);
		puts(cell);
	}
}

/* One line for one report, so that those of top can be told apart. */
void print_json(const json_t *value)
{
	if (json_dumpf(value, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)))
		err(STATUS_FAILED, "standard output");
	putchar('\n');
}
