/* Exceptions through frames with destructors, rethrown, nested, out of operator new, out of threads; prints what it caught. */
#include <atomic>
#include <cstdio>
#include <future>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

struct tracer {
	std::string name;
	static std::atomic<int> alive;
	explicit tracer(std::string n) : name(std::move(n))
	{
		alive++;
	}
	tracer(const tracer &) = delete;
	~tracer()
	{
		alive--;
	}
};
std::atomic<int> tracer::alive;

__attribute__((noinline)) static int deep(int depth, int at)
{
	tracer here("frame " + std::to_string(depth) + " with a name too long for the small string buffer");
	std::vector<std::unique_ptr<int>> blocks;
	for (int i = 0; i < depth % 7; i++)
		blocks.push_back(std::make_unique<int>(i));
	if (depth == at)
		throw std::runtime_error("at depth " + std::to_string(depth));
	return deep(depth + 1, at) + static_cast<int>(blocks.size());
}

static std::string caught(int at)
{
	try {
		try {
			deep(0, at);
		} catch (const std::exception &e) {
			throw std::logic_error(std::string("again: ") + e.what());
		}
	} catch (const std::logic_error &e) {
		return e.what();
	}
	return "nothing";
}

int main()
{
	for (int at = 1; at < 60; at += 7)
		printf("%s, alive %d\n", caught(at).c_str(), tracer::alive.load());
	std::new_handler none = std::set_new_handler([] { throw std::bad_alloc(); });
	for (int i = 0; i < 100; i++)
		try {
			static volatile size_t too_much = static_cast<size_t>(-1) / 2;
			delete[] new char[too_much];
		} catch (const std::bad_alloc &) {
			if (i % 50 == 0)
				printf("bad_alloc %d\n", i);
		}
	std::set_new_handler(none);
	std::vector<std::future<std::string>> answers;
	for (int i = 0; i < 8; i++)
		answers.push_back(std::async(std::launch::async, [i] {
			for (int k = 0; k < 200; k++)
				caught(k % 20);
			if (i % 2)
				throw std::out_of_range("thread " + std::to_string(i));
			return caught(i);
		}));
	for (auto &a : answers)
		try {
			printf("%s\n", a.get().c_str());
		} catch (const std::out_of_range &e) {
			printf("out of a thread: %s\n", e.what());
		}
	printf("alive %d\n", tracer::alive.load());
	return 3;
}
