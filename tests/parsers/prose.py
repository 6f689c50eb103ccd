"""Ordinary prose in many languages: what people still have lying about in the charsets of before Unicode."""

FINNISH = (
    "Talven tullen järvi jäätyy hiljalleen, ja rannan asukkaat odottavat ensimmäistä kestävää jäätä. Isä käski "
    "lasten pysyä poissa jäältä, kunnes se olisi vähintään kymmenen senttimetriä paksua. Äiti keitti kahvia ja "
    "leipoi pullaa, sillä illalla kylään oli tulossa vieraita. Yöllä tuuli kääntyi pohjoiseen ja pakkanen "
    "kiristyi kahteenkymmeneen asteeseen. Aamulla lämpömittari näytti vieläkin vähemmän, mutta aurinko paistoi "
    "kirkkaasti lumisten metsien yllä. Pöydällä oli höyryävää puuroa, ja radio kertoi päivän säätiedotuksen "
    "koko maahan."
)

ICELANDIC = (
    "Veturinn kemur snemma á norðanverðu landinu og dagarnir styttast óðum. Bændurnir þurfa að ná fénu heim "
    "áður en fyrstu snjóarnir falla, og allir í sveitinni hjálpast að. Á kvöldin sitja menn við eldhúsborðið, "
    "drekka kaffi og segja sögur af gömlum tímum. Börnin ganga í skólann þótt veðrið sé vont, því þau eru öllu "
    "vön. Síðasta haust kom óvenju mikið rok og þakið fauk af hlöðunni, en enginn meiddist. Nú er búið að gera "
    "við hana og heyið er þurrt. Þegar vorar aftur verður allt grænt á ný og fuglarnir snúa heim."
)

ESTONIAN = (
    "Kevadel sulab jää ja jõed tõusevad üle kallaste. Külas algavad siis põllutööd, kuigi öösel võib olla veel "
    "külm. Vanaema räägib, et tema nooruses käidi kirikus jalgsi, sest hobuseid oli vähe ja teed olid halvad. "
    "Täna sõidavad kõik autoga ja keegi ei mäleta enam, kui pikk see tee tegelikult oli. Õhtul istume ahju ees, "
    "sööme leiba ja joome piima. Lapsed õpivad koolis võõrkeeli ning tahavad näha maailma. Sügisel tuleb jälle "
    "vihm, metsast korjatakse seeni ja marju, ning pööningul kuivavad ravimtaimed."
)

SWEDISH = (
    "När våren kommer till skärgården går båtarna ut igen. Öarna ligger gröna i det blå vattnet och måsarna "
    "skriker över hamnen. Äldre människor sitter på bänkarna och berättar om förr i tiden, då man fick ro över "
    "fjärden för att handla. Nu går färjan varje timme, även på söndagar. Ändå längtar många tillbaka till den "
    "tystnad som rådde."
)

DANISH = (
    "Når foråret kommer, går folk på landet igen ud i haven. Æbletræerne blomstrer, og børnene løber rundt på "
    "græsset. Øen ligger stille i det blå hav, og færgen sejler hver time. Ældre mennesker sidder på bænkene og "
    "fortæller om gamle dage, da man måtte ro over fjorden for at købe ind. Nu er alting nemmere, men også "
    "dyrere, siger de."
)

NORWEGIAN = (
    "Når våren kommer til bygda, går elva over sine bredder og oversvømmer engene nedenfor gården. Bøndene "
    "fører da kyrne opp på høyere beiter, og barna bygger flåter av gamle bord. Bestemor sier at flommene var "
    "større før, og at vannet rakk helt opp til kirkedøra. I dag er det annerledes, fordi de har bygd en "
    "demning ovenfor bygda. Om kvelden samles alle rundt bordet, drikker te og hører på fortellinger. Noen "
    "spiller fele, noen synger, og hunden ligger og sover ved ovnen. Sent på natta slukkes lysene, og alt blir "
    "stille."
)

DUTCH = (
    "In het vroege voorjaar treedt de rivier buiten haar oevers en zet de weilanden onder het dorp blank. De "
    "boeren brengen de koeien dan naar hoger gelegen weiden, en de kinderen bouwen vlotten van oude planken. "
    "Eén keer, vóór de oorlog, kwam het water tot aan de drempel van het café. De coördinatie van de hulp was "
    "toen slecht geregeld, vertelt oma. Geïnteresseerden kunnen de foto's nog altijd bekijken in België, waar "
    "haar zoon een museum beheert met een reeks ideeën voor een reünie."
)

GERMAN = (
    "Am späten Abend öffnete der Händler seine Tür und grüßte die müden Gäste. Draußen fiel Schnee auf die "
    "Straße, und über den Dächern stand der Mond. Er hätte gern länger geschlafen, doch die Geschäfte ließen es "
    "nicht zu. Für die Reise nach München brauchte er Äpfel, Brötchen und ein großes Stück Käse. Natürlich "
    "würde die Fahrt über die Brücke führen, wie schon früher."
)

FRENCH = (
    "Les élèves étaient déjà rentrés chez eux après la fête, où ils avaient chanté. Le lendemain, à l'école, la "
    "maîtresse leur demanda de raconter leur soirée. Certains avaient mangé des crêpes, d'autres avaient joué "
    "aux échecs jusqu'à minuit. Être sage n'était pas leur fort, mais ils travaillaient bien. Ça sentait la "
    "craie et le café, et l'été paraissait encore très éloigné de cette région où la forêt commence après le "
    "dernier pré."
)

SPANISH = (
    "Mañana por la mañana, el niño saldrá a pescar con su abuelo. Según él, el río está más tranquilo al "
    "amanecer. Llevarán pan, jamón y un termo de café. La señora de la tienda les preguntó cuándo volverían; "
    "¿quizás después del mediodía? El año pasado pescaron cinco truchas, pero esta vez la corriente será "
    "difícil y habrá que tener paciencia."
)

PORTUGUESE = (
    "Amanhã de manhã o avô levará as crianças à praia. Não há nuvens no céu, e o mar está calmo. A avó já "
    "preparou o almoço: pão, queijo, maçãs e um bolo de limão. As irmãs estão ansiosas, porque é a primeira vez "
    "que vão nadar este verão. À noite haverá música na praça, e todos dançarão até às onze horas, se não "
    "chover."
)

ITALIAN = (
    "La città è più bella la sera, quando i caffè si riempiono e la gente passeggia lungo il fiume. Perché mai "
    "dovremmo partire così presto? Il treno è già in ritardo, e la verità è che nessuno ha fretta. Però domani "
    "sarà lunedì, e la metà di noi dovrà tornare al lavoro. Chissà se potrà mai esserci un po' di tranquillità."
)

POLISH = (
    "Wczesną wiosną rzeka występuje z brzegów i zalewa okoliczne łąki. Gospodarze wyprowadzają wtedy krowy na "
    "wyższe pastwiska, a dzieci budują tratwy ze starych desek. Babcia mówi, że dawniej powodzie były większe i "
    "że woda sięgała progu kościoła. Dziś jest inaczej, bo wybudowano wały i zbiornik powyżej wsi. Wieczorem "
    "wszyscy zbierają się przy stole, piją herbatę i słuchają opowieści. Ktoś gra na skrzypcach, ktoś śpiewa, a "
    "pies śpi pod piecem. Późną nocą gasną światła i zapada cisza, słychać tylko żaby."
)

CZECH = (
    "Na jaře se řeka často vylije z břehů a zaplaví louky pod vesnicí. Hospodáři pak vyhánějí krávy na vyšší "
    "pastviny a děti si stavějí vory ze starých prken. Babička říká, že dříve bývaly povodně větší a že voda "
    "sahala až ke kostelu. Dnes je to jinak, protože nad vsí postavili přehradu. Večer se všichni sejdou u "
    "stolu, pijí čaj a poslouchají vyprávění. Někdo hraje na housle, někdo zpívá a pes spí pod kamny. Pozdě v "
    "noci zhasnou světla a je ticho, jen žáby kuňkají."
)

RUSSIAN = (
    "Ранней весной река выходит из берегов и заливает луга под деревней. Хозяева тогда выгоняют коров на "
    "высокие пастбища, а дети строят плоты из старых досок. Бабушка говорит, что раньше наводнения были больше "
    "и вода доходила до порога церкви. Сегодня всё иначе, потому что выше деревни построили плотину. Вечером "
    "все собираются за столом, пьют чай и слушают рассказы. Кто-то играет на скрипке, кто-то поёт, а собака "
    "спит под печкой. Поздно ночью гаснут огни, и наступает тишина, слышны только лягушки."
)

HEBREW = (
    "בתחילת האביב הנהר עולה על גדותיו ומציף את השדות שמתחת לכפר. החקלאים מובילים אז את הפרות למרעה גבוה יותר, "
    "והילדים בונים רפסודות מקרשים ישנים. סבתא מספרת שפעם השיטפונות היו גדולים יותר והמים הגיעו עד סף בית הכנסת. "
    "היום המצב שונה, כי מעל הכפר נבנה סכר."
)

JAPANESE = (
    "春の初めになると川の水があふれ、村の下の草原は水につかります。農家の人たちは牛を高い牧場に連れて行き"
    "、子どもたちは古い板でいかだを作ります。祖母の話では、昔の洪水はもっと大きく、水は神社の石段まで来た"
    "そうです。今は村の上にダムができたので、そのようなことはありません。夜になると、みんなが食卓に集まり"
    "、お茶を飲みながら昔話を聞きます。だれかが歌を歌い、犬はストーブのそばで眠っています。夜がふけると明"
    "かりが消え、カエルの声だけが聞こえます。"
)

CHINESE = (
    "初春时节，河水常常漫过堤岸，淹没村子下面的草地。农民们把牛赶到高处的牧场，孩子们用旧木板做木筏。奶奶"
    "说，从前的洪水更大，水一直涨到庙门口。现在不同了，因为村子上游修了一座水坝。晚上大家围坐在桌旁，喝茶"
    "，听故事。有人拉琴，有人唱歌，狗在炉子旁边睡觉。夜深了，灯都熄了，四周一片寂静，只能听见青蛙的叫声。"
    "第二天早晨，太阳从山后升起，人们又开始忙碌的一天。"
)

KOREAN = (
    "이른 봄이 되면 강물이 넘쳐 마을 아래의 풀밭이 물에 잠깁니다. 농부들은 소를 높은 목장으"
    "로 몰고 가고, 아이들은 낡은 판자로 뗏목을 만듭니다. 할머니는 옛날에는 홍수가 더 커서 "
    "물이 절의 문턱까지 올라왔다고 말씀하십니다. 지금은 마을 위쪽에 댐이 생겨서 다릅니다. 저"
    "녁이 되면 모두가 식탁에 모여 차를 마시고 이야기를 듣습니다. 누군가는 노래를 부르고 개는"
    " 난로 옆에서 잠을 잡니다. 밤이 깊으면 불이 꺼지고 개구리 소리만 들립니다."
)
