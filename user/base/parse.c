/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/parse.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads digits at *text and moves it behind them. */
static int read_digits(const char **text, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (!is_digit(**text))
		return -EINVAL;
	for (; is_digit(**text); (*text)++)
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(**text - '0'), &value))
			return -ERANGE;
	*ret_value = value;
	return 0;
}

int dt_parse_u64(const char *text, uint64_t minimum, uint64_t maximum, uint64_t *ret_value)
{
	uint64_t value;
	int error = read_digits(&text, &value);

	if (error)
		return error;
	if (*text)
		return -EINVAL;
	if (value < minimum || value > maximum)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

int dt_parse_bytes(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "KMGT";
	uint64_t value;
	const char *unit;
	int error = read_digits(&text, &value);

	if (error)
		return error;
	if (*text) {
		unit = strchr(units, *text);
		if (!unit || text[1])
			return -EINVAL;
		if (__builtin_mul_overflow(value, 1ull << 10 * (unit - units + 1), &value))
			return -ERANGE;
	}
	*ret_bytes = value;
	return 0;
}

int dt_parse_seconds(const char *text, uint64_t *ret_ns)
{
	uint64_t seconds = 0, ns;
	int error = *text == '.' ? 0 : read_digits(&text, &seconds);

	if (error)
		return error;
	if (__builtin_mul_overflow(seconds, 1000000000u, &ns))
		return -ERANGE;
	if (*text == '.') {
		uint64_t unit = 100000000;

		if (!is_digit(*++text))
			return -EINVAL;
		for (; is_digit(*text) && unit; text++, unit /= 10)
			if (__builtin_add_overflow(ns, unit * (uint64_t)(*text - '0'), &ns))
				return -ERANGE;
	}
	if (*text)
		return -EINVAL;
	if (!ns)
		return -ERANGE;
	*ret_ns = ns;
	return 0;
}

int dt_parse_duration(const char *text, uint64_t *ret_ns)
{
	static const struct {
		const char *name;
		uint64_t factor, divisor;       /* of seconds */
	} units[] = { { "ms", 1, 1000 }, { "s", 1, 1 }, { "m", 60, 1 }, { "h", 3600, 1 }, { "d", 86400, 1 } };
	size_t size = strspn(text, "0123456789.");
	char number[32] = "";
	uint64_t ns;
	int error;

	if (size >= sizeof(number))
		return -ERANGE;
	memcpy(number, text, size);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(text + size, units[i].name))
			continue;
		error = dt_parse_seconds(number, &ns);
		if (error)
			return error;
		if (__builtin_mul_overflow(ns, units[i].factor, &ns) || ns < units[i].divisor)
			return -ERANGE;
		*ret_ns = ns / units[i].divisor;
		return 0;
	}
	return -EINVAL;
}
