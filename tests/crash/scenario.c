#include "crash/scenario.h"

#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fault_name[] = { "none", "lose", "misdirect", "power", "failwrite",
	"failflush", "failclose" };
static const char *const probe_name[] = { "none", "flip", "fallback", "kill" };

bool
scenario_fault_of(const char *name, enum scenario_fault *out_fault)
{
	for (size_t i = 1; i < ARRAY_COUNT(fault_name); i++) {
		if (strcmp(name, fault_name[i]) != 0)
			continue;
		*out_fault = (enum scenario_fault)i;
		return true;
	}
	return false;
}

void
scenario_print(const struct scenario *scenario, char out[SCENARIO_TEXT_BYTES])
{
	int used = snprintf(out, SCENARIO_TEXT_BYTES, "workload=%s seed=%" PRIu64,
		scenario->workload, scenario->seed);

	if (scenario->fault)
		used += snprintf(out + used, SCENARIO_TEXT_BYTES - (size_t)used,
			" fault=%s:%" PRIu64 ":%" PRIu64, fault_name[scenario->fault],
			scenario->fault_call, scenario->fault_addr);
	if (scenario->is_late)
		used += snprintf(out + used, SCENARIO_TEXT_BYTES - (size_t)used, " late=1");
	used += snprintf(
		out + used, SCENARIO_TEXT_BYTES - (size_t)used, " cut=%" PRIu64, scenario->cut);
	if (scenario->probe)
		used += snprintf(out + used, SCENARIO_TEXT_BYTES - (size_t)used,
			" probe=%s:%" PRIu64 ":%" PRIu32, probe_name[scenario->probe],
			scenario->probe_addr, scenario->probe_bit);
	if (scenario->script[0])
		used += snprintf(out + used, SCENARIO_TEXT_BYTES - (size_t)used, " script=%s",
			scenario->script);
	for (int i = 0; i < SCENARIO_AGAIN && scenario->again[i].cut; i++)
		used += snprintf(out + used, SCENARIO_TEXT_BYTES - (size_t)used,
			" cut%d=%" PRIu64 " script%d=%s", i + 2, scenario->again[i].cut, i + 2,
			scenario->again[i].script);
}

/* "name:1:2" into the number of the name and two numbers. */
static bool
parse_choice(const char *text, const char *const *names, size_t count, uint32_t *out_choice,
	uint64_t numbers[2])
{
	for (size_t i = 0; i < count; i++) {
		size_t bytes = strlen(names[i]);

		if (strncmp(text, names[i], bytes) != 0 || (text[bytes] && text[bytes] != ':'))
			continue;
		*out_choice = (uint32_t)i;
		return sscanf(text + bytes, ":%" SCNu64 ":%" SCNu64, &numbers[0], &numbers[1]) >=
		       (i > 0);
	}
	return false;
}

/* "cut2=3", "script3=0.1" */
static bool
parse_again(const char *field, const char *value, struct scenario *scenario)
{
	char name[16];

	for (int i = 0; i < SCENARIO_AGAIN; i++) {
		snprintf(name, sizeof name, "cut%d=", i + 2);
		if (strncmp(field, name, strlen(name)) == 0) {
			scenario->again[i].cut = strtoull(value, NULL, 10);
			return true;
		}
		snprintf(name, sizeof name, "script%d=", i + 2);
		if (strncmp(field, name, strlen(name)) == 0) {
			snprintf(scenario->again[i].script, sizeof scenario->again[i].script, "%s",
				value);
			return true;
		}
	}
	return false;
}

static bool
parse_field(const char *field, struct scenario *scenario)
{
	const char *value = strchr(field, '=');
	uint64_t numbers[2] = { 0, 0 };
	uint32_t choice = 0;

	if (!value++)
		return false;
	if (strncmp(field, "workload=", 9) == 0)
		snprintf(scenario->workload, sizeof scenario->workload, "%s", value);
	else if (strncmp(field, "seed=", 5) == 0)
		scenario->seed = strtoull(value, NULL, 10);
	else if (strncmp(field, "late=", 5) == 0)
		scenario->is_late = strtoull(value, NULL, 10) != 0;
	else if (strncmp(field, "cut=", 4) == 0)
		scenario->cut = strtoull(value, NULL, 10);
	else if (parse_again(field, value, scenario))
		return true;
	else if (strncmp(field, "script=", 7) == 0)
		snprintf(scenario->script, sizeof scenario->script, "%s", value);
	else if (strncmp(field, "fault=", 6) == 0 &&
		 parse_choice(value, fault_name, ARRAY_COUNT(fault_name), &choice, numbers)) {
		scenario->fault = choice;
		scenario->fault_call = numbers[0];
		scenario->fault_addr = numbers[1];
	} else if (strncmp(field, "probe=", 6) == 0 &&
		   parse_choice(value, probe_name, ARRAY_COUNT(probe_name), &choice, numbers)) {
		scenario->probe = choice;
		scenario->probe_addr = numbers[0];
		scenario->probe_bit = (uint32_t)numbers[1];
	} else {
		return false;
	}
	return true;
}

int
scenario_parse(const char *text, struct scenario *out_scenario)
{
	struct scenario *scenario = calloc(1, sizeof *scenario);
	char *copy = strdup(text);
	char *rest = NULL;
	int err = 0;

	if (!scenario || !copy) {
		err = fail(COP_ENOMEM, "scenario");
		goto out;
	}
	for (char *field = strtok_r(copy, " ", &rest); field && !err;
		field = strtok_r(NULL, " ", &rest))
		if (!parse_field(field, scenario))
			err = fail(COP_EINVAL, "no part of a scenario: %s", field);
	if (!err && scenario->workload[0] == 0)
		err = fail(COP_EINVAL, "a scenario has a workload");
	if (!err)
		*out_scenario = *scenario;
out:
	free(copy);
	free(scenario);
	return err;
}
