/*
 * Keeps blocks in a static object, whose destructor frees them: usage static_owner return|exit|thread. return: from main. exit: calls
 * exit(). thread: calls it on another thread. 1000 blocks of 1000 bytes, made in keep().
 */
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

static std::vector<std::unique_ptr<char[]>> kept;

__attribute__((noinline)) static void keep()
{
	for (int i = 0; i < 1000; i++)
		kept.emplace_back(new char[1000]);
}

int main(int argc, char **argv)
{
	const char *how = argc == 2 ? argv[1] : "";
	keep();
	if (strcmp(how, "exit") == 0)
		exit(7);
	if (strcmp(how, "thread") == 0)
		std::thread([] { exit(7); }).join();
	return strcmp(how, "return") == 0 ? 7 : 2;
}
