/*
 * Allocates while exceptions are thrown, caught, rethrown and unwound through destructors, in containers, lambdas and
 * std::function. Usage: stacks_cpp ROUNDS.
 */
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#define APART __attribute__((noinline, noclone))

struct guard {
	std::string text;
	explicit guard(int n) : text(static_cast<size_t>(n % 60) + 20, 'g')
	{
	}
	~guard()
	{
		std::string copy = text + "!";
	} /* allocates while the stack is unwound */
};

APART static int thrower(int depth, int n)
{
	guard g(n + depth);
	if (depth == 0) {
		if (n % 3 == 0)
			throw std::runtime_error("three: " + std::to_string(n) + std::string(30, '.'));
		if (n % 3 == 1)
			throw n;
		return n;
	}
	return thrower(depth - 1, n) + static_cast<int>(g.text.size());
}

APART static int rethrower(int n)
{
	guard g(n);
	try {
		return thrower(n % 12, n);
	} catch (const std::exception &e) {
		std::string what = e.what() + std::string(40, '-');
		if (n % 2)
			throw;
		return static_cast<int>(what.size());
	}
}

APART static long containers(int n)
{
	std::map<std::string, std::vector<int>> m;
	for (int i = 0; i < 30; i++)
		m["key that is longer than sso " + std::to_string((n * 31 + i) % 17)].push_back(i);
	long sum = 0;
	std::function<void(int)> walk = [&](int left) {
		auto p = std::make_unique<std::string>(static_cast<size_t>(left) + 30, 'w');
		sum += static_cast<long>(p->size());
		if (left > 0)
			walk(left - 1);
	};
	walk(n % 20);
	return sum + static_cast<long>(m.size());
}

int main(int argc, char **argv)
{
	long rounds = argc == 2 ? std::atol(argv[1]) : 1, sum = 0;
	for (long i = 0; i < rounds; i++) {
		try {
			sum += rethrower(static_cast<int>(i));
		} catch (const std::exception &) {
			sum++;
		} catch (int n) {
			sum += n;
		}
		sum += containers(static_cast<int>(i));
	}
	return sum == 0;
}
