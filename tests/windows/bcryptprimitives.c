/* bcryptprimitives.dll for a Wine that has none (before 10): ProcessPrng over the system's generator. */
#include <windows.h>
#include <ntsecapi.h>

/* The most that one call of RtlGenRandom is asked for; its length is 32 bits wide, ours 64. */
#define PIECE 0x10000000u

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size) {
    while (size > 0) {
        ULONG piece = size > PIECE ? PIECE : (ULONG)size;
        if (!RtlGenRandom(data, piece)) {
            return FALSE;
        }
        data += piece;
        size -= piece;
    }
    return TRUE;
}
