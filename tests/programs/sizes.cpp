/* Blocks of many sizes, as C++ makes them: strings, vectors that grow, maps, lists, arrays of a few megabytes; half of all is dropped. */
#include <cstdio>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

struct record {
	std::string name;
	std::vector<unsigned> numbers;
	std::list<std::string> notes;
};

int main()
{
	std::map<unsigned, std::unique_ptr<record>> records;
	std::vector<std::unique_ptr<std::vector<char>>> buffers;
	unsigned long dice = 88172645463325252ul;
	for (unsigned i = 0; i < 30000; i++) {
		dice = dice * 6364136223846793005ul + 1442695040888963407ul;
		auto r = std::make_unique<record>();
		r->name.assign(dice >> 33 & 255, 'n');
		for (unsigned k = 0; k < (dice >> 41 & 127); k++)
			r->numbers.push_back(k);
		for (unsigned k = 0; k < (dice >> 49 & 3); k++)
			r->notes.emplace_back(20 + k * 40, 'x');
		records[i] = std::move(r);
		if (i % 300 == 0)
			buffers.push_back(std::make_unique<std::vector<char>>((dice >> 33) % 3000000, 'b'));
	}
	for (unsigned i = 0; i < 30000; i += 2)
		records.erase(i);
	for (std::size_t i = 0; i < buffers.size(); i += 2)
		buffers[i].reset();
	std::printf("%zu\n", records.size());
	std::fflush(stdout);
	_exit(0);
}
