import java.io.*;
import java.util.zip.GZIPInputStream;

/** Decompresses a file, or a stream that never says that more is at hand, as those of sockets may not. */
class Gunzip {
    public static void main(String[] arguments) throws IOException {
        InputStream in = new FileInputStream(arguments[0]);
        if (arguments.length > 1) {
            in = new FilterInputStream(in) {
                public int available() { return 0; }
                public int read(byte[] bytes, int at, int length) throws IOException {
                    return super.read(bytes, at, Math.min(length, 64));
                }
            };
        }
        new GZIPInputStream(in).transferTo(System.out);
        System.out.flush();
    }
}
