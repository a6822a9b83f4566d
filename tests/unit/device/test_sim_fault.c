#include "device/sim_fault.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct device_io
request(enum device_op op, uint64_t addr, uint64_t blocks)
{
	return (struct device_io){ .op = op, .addr = addr, .blocks = blocks };
}

static void
strikes_once_or_from_then_on(void **state)
{
	const struct sim_fault once = { .kind = SIM_FAIL_READ, .call = 2 };
	const struct sim_fault lasting = { .kind = SIM_FAIL_WRITE, .call = 2, .persistent = true };
	const struct sim_fault always = { .kind = SIM_FAIL_FLUSH, .call = SIM_ANY };
	const struct device_io read = request(DEVICE_READ, 1, 1);
	const struct device_io write = request(DEVICE_WRITE, 1, 1);
	const struct device_io flush = request(DEVICE_FLUSH, 0, 0);
	struct sim_fault_table table = { .count = 0 };

	(void)state;
	assert_int_equal(sim_fault__add(&table, &once), 0);
	assert_int_equal(sim_fault__add(&table, &lasting), 0);
	assert_int_equal(sim_fault__add(&table, &always), 0);
	for (int i = 1; i <= 4; i++) {
		assert_int_equal(!!sim_fault__find(&table, &read, SIM_AT_EXECUTION), i == 2);
		assert_int_equal(!!sim_fault__find(&table, &write, SIM_AT_EXECUTION), i >= 2);
		assert_non_null(sim_fault__find(&table, &flush, SIM_AT_EXECUTION));
	}
	assert_int_equal(table.struck, 1 + 3 + 4);
	sim_fault__clear(&table);
	assert_null(sim_fault__find(&table, &flush, SIM_AT_EXECUTION));
	assert_int_equal(table.struck, 0);
}

static void
counts_only_calls_on_its_blocks(void **state)
{
	const struct sim_fault fault = {
		.kind = SIM_FAIL_READ, .call = 2, .addr = 10, .blocks = 5, .code = COP_ENOSPC
	};
	static const struct {
		uint64_t addr;
		uint64_t blocks;
		bool strikes;
	} calls[] = { { 9, 1, false }, { 9, 2, false }, { 15, 9, false }, { 14, 1, true },
		{ 12, 1, false } };
	struct sim_fault_table table = { .count = 0 };

	(void)state;
	assert_int_equal(sim_fault__add(&table, &fault), 0);
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		const struct device_io io = request(DEVICE_READ, calls[i].addr, calls[i].blocks);
		const struct sim_fault *found = sim_fault__find(&table, &io, SIM_AT_EXECUTION);

		assert_int_equal(!!found, calls[i].strikes);
		if (found)
			assert_int_equal(found->code, COP_ENOSPC);
	}
}

static void
holds_back_at_submission_only(void **state)
{
	const struct sim_fault fault = { .kind = SIM_HOLD_WRITE, .call = 1 };
	const struct device_io write = request(DEVICE_WRITE, 1, 1);
	struct sim_fault_table table = { .count = 0 };

	(void)state;
	assert_int_equal(sim_fault__add(&table, &fault), 0);
	assert_null(sim_fault__find(&table, &write, SIM_AT_EXECUTION));
	assert_non_null(sim_fault__find(&table, &write, SIM_AT_SUBMISSION));
	assert_null(sim_fault__find(&table, &write, SIM_AT_SUBMISSION));
}

static void
leads_astray_the_blocks_it_was_told(void **state)
{
	const struct sim_fault part = {
		.kind = SIM_MISDIRECT_WRITE, .addr = 11, .blocks = 2, .to_addr = 50
	};
	const struct sim_fault whole = { .kind = SIM_MISDIRECT_WRITE, .to_addr = 50 };
	const struct sim_fault lost = { .kind = SIM_LOSE_WRITE, .addr = 11, .blocks = 1 };
	const struct device_io write = request(DEVICE_WRITE, 10, 4);
	static const uint64_t part_goes_to[] = { 10, 50, 51, 13 };

	(void)state;
	for (uint64_t i = 0; i < 4; i++) {
		uint64_t addr = 0;

		assert_true(sim_fault__target(&part, &write, 10 + i, &addr));
		assert_int_equal(addr, part_goes_to[i]);
		assert_true(sim_fault__target(&whole, &write, 10 + i, &addr));
		assert_int_equal(addr, 50 + i);
		assert_true(sim_fault__target(NULL, &write, 10 + i, &addr));
		assert_int_equal(addr, 10 + i);
		assert_int_equal(sim_fault__target(&lost, &write, 10 + i, &addr), i != 1);
	}
}

static void
says_when_the_table_is_full(void **state)
{
	const struct sim_fault fault = { .kind = SIM_FAIL_READ };
	struct sim_fault_table table = { .count = 0 };

	(void)state;
	for (int i = 0; i < SIM_FAULTS_MAX; i++)
		assert_int_equal(sim_fault__add(&table, &fault), 0);
	assert_int_equal(sim_fault__add(&table, &fault), COP_ENOSPC);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strikes_once_or_from_then_on),
		cmocka_unit_test(counts_only_calls_on_its_blocks),
		cmocka_unit_test(holds_back_at_submission_only),
		cmocka_unit_test(leads_astray_the_blocks_it_was_told),
		cmocka_unit_test(says_when_the_table_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
